// `bun run engine`: a real engine for as long as this runs; prints the DOCKER_HOST to use.
import { acquireEngine } from "./engine/engine.ts";
import { untilSignal } from "./signals.ts";

await using engine = await acquireEngine();
console.log(`export DOCKER_HOST=${engine.host}`);
if (engine.isPrivate) await untilSignal();
