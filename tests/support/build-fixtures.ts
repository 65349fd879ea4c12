// Builds function images of the tests on the engine of DOCKER_HOST: those named, or those that no test should wait for. Prints
// their references, one to a line.
import { fixture, fixturesNamed } from "./images.ts";

for (const name of fixturesNamed(process.argv.slice(2))) console.log(await fixture(name));
