// `bun run engine [-- --newest]`: a real engine for as long as this runs; prints the DOCKER_HOST to use.
import { acquireEngine, startNewestEngine } from "./engine/engine.ts";
import { untilSignal } from "./signals.ts";

await using engine = await (process.argv.includes("--newest") ? startNewestEngine() : acquireEngine());
console.log(`export DOCKER_HOST=${engine.host}`);
if (engine.isPrivate) await untilSignal();
