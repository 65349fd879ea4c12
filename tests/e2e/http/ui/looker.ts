// Looks at a server as browsers with the dashboard do, until it is killed: `bun looker.ts URL FUNCTION`. It follows the
// function's logs, and makes all requests of all pages, one after the other: as many as dozens of people make.
import { dashboardRequests } from "../../../http/ui/support/dashboard-requests.ts";

const [url = "", name = ""] = process.argv.slice(2);
const PAUSE_MS = 25;

async function get(path: string): Promise<void> {
  const response = await fetch(url + path);
  await response.arrayBuffer();
}

void get(`/v1/functions/${name}/logs`);
const paths = await dashboardRequests();
for (let i = 0; ; i = (i + 1) % paths.length) {
  await get(paths[i] ?? "");
  if (i === 0) process.stdout.write("looking\n");
  await Bun.sleep(PAUSE_MS);
}
