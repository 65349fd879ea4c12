// Builds function images of the tests on the engine of DOCKER_HOST, so that no test waits for one: those named, or all. Prints
// their references, one to a line.
import { FIXTURE_NAMES, fixture } from "./images.ts";

const named = process.argv.slice(2);
for (const name of FIXTURE_NAMES) if (named.length === 0 || named.includes(name)) console.log(await fixture(name));
