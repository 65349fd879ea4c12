// Asks for /healthz all the time, in a process of its own. For each line on standard input it prints the longest time in
// milliseconds that an answer took since the line before.
const url = `${process.argv[2]}/healthz`;
let worst = 0;
let began = 0;

/** Takes the answer that is awaited into account. */
function reset(): number {
  const longest = Math.max(worst, began === 0 ? 0 : performance.now() - began);
  worst = 0;
  return longest;
}

async function probe(): Promise<void> {
  for (;;) {
    began = performance.now();
    await (await fetch(url)).text();
    worst = Math.max(worst, performance.now() - began);
    began = 0;
    await Bun.sleep(2);
  }
}

void probe();
for await (const _ of console) console.log(reset().toFixed(1));
process.exit(0);
export {};
