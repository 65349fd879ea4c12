// Builds all function images of the tests on the engine of DOCKER_HOST, so that no test waits for one.
import { FIXTURE_NAMES, fixture } from "./images.ts";

for (const name of FIXTURE_NAMES) await fixture(name);
