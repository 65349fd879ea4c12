import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { eventually } from "../../../support/pace.ts";
import { ControlPlane } from "./control-plane.ts";
import { giveImages, makeImages } from "./images.ts";
import { Machine } from "./machine.ts";
import { Network } from "./network.ts";
import { Node } from "./node.ts";

/** Longer than a kubelet takes to add its node on a busy machine. */
const READY_MS = 120_000;

/** Kubernetes on machines of its own. */
export interface Kubernetes extends AsyncDisposable {
  readonly plane: ControlPlane;
  readonly network: Network;
  readonly nodes: readonly Node[];
}

/** Starts a cluster of nodes that have the images of Pods; `programs` is the directory with Kubernetes's programs. */
export async function startKubernetes(programs: string, size: number): Promise<Kubernetes> {
  await using made = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "slipway-kubernetes-"));
  made.defer(() => rm(directory, { recursive: true, force: true }));
  const images = makeImages(programs);
  const control = made.use(await Machine.start(join(directory, "control")));
  const network = made.use(await Network.start(control));
  const plane = await ControlPlane.start(programs, control, network);
  await images;
  const nodes: Node[] = [];
  for (let number = 1; number <= size; number++) {
    const node = made.use(await Node.create(number, directory, network));
    await giveImages(node.engine);
    node.join(plane, network);
    nodes.push(node);
  }
  for (const { name, machine } of nodes) {
    const isReady = async () => /^\S+ +Ready /m.test(await plane.try("get", "node", name));
    if (!(await eventually(isReady, READY_MS))) throw new Error(`${name} is not ready: ${machine.logOf("kubelet")}`);
  }
  const all = made.move();
  return { plane, network, nodes, [Symbol.asyncDispose]: () => all.disposeAsync() };
}
