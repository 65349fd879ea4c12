// `bun run engine [--newest | --emulated]`: a real engine for as long as this runs; prints the DOCKER_HOST to use.
import { acquireEngine, startEmulated, startNewestEngine } from "./engine/engine.ts";
import { untilSignal } from "./signals.ts";

const asked = (option: string): boolean => process.argv.includes(option);
await using engine = await (
  asked("--emulated") ? startEmulated : asked("--newest") ? startNewestEngine : acquireEngine
)();
console.log(`export DOCKER_HOST=${engine.host}`);
if (engine.isPrivate) await untilSignal();
