import { Value } from "@sinclair/typebox/value";
import type { Clock } from "../../clock.ts";
import { AppError } from "../../domain/errors.ts";
import { CreateFunction, type Function } from "../../domain/functions/functions.ts";
import { HTTP_WARM_MAX, WARM_MAX, WARM_MIN } from "../../domain/limits.ts";
import { type Deployed, type FunctionDeployment, functionOf } from "../../domain/openfaas/deployment.ts";
import { notesIn } from "../../domain/openfaas/labels.ts";
import { type FunctionStatus, statusOf } from "../../domain/openfaas/status.ts";
import type { Logger } from "../../log.ts";
import type { Metrics } from "../../metrics.ts";
import { labelOf } from "../../services/calls/record.ts";
import type { FunctionService } from "../../services/functions/functions.ts";
import type { AnnotatedSchedules } from "../../services/work/annotated-schedules.ts";
import { validationMessage } from "../wire/validation-message.ts";

/** The time that a client waits for a deployment at most, in milliseconds: `faas-cli` gives up after 60 s. */
const ANSWER_MS = 45_000;

const NOT_COUNTED: ReadonlyMap<string, number> = new Map();

interface DeploymentDeps {
  readonly functions: FunctionService;
  readonly annotatedSchedules: AnnotatedSchedules;
  readonly metrics: Pick<Metrics, "invocations">;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Learns that a deployment has failed after its answer. */
type FailedLate = (error: unknown) => void;

/** Deploys functions as OpenFaaS's clients describe them, and shows them as these read them. */
export class Deployments {
  readonly #deps: DeploymentDeps;

  constructor(deps: DeploymentDeps) {
    this.#deps = deps;
  }

  /** Lists all functions, oldest first; `counted` with the numbers of their calls. */
  async list({ counted }: { readonly counted: boolean }): Promise<FunctionStatus[]> {
    const calls = counted ? await this.#calls() : NOT_COUNTED;
    return (await this.#deps.functions.list()).map((fn) => this.#status(fn, calls));
  }

  /** Shows one function; throws `not_found`. */
  async get(name: string, { counted }: { readonly counted: boolean }): Promise<FunctionStatus> {
    return this.#status(this.#deps.functions.get(name), counted ? await this.#calls() : NOT_COUNTED);
  }

  /** Makes a function. Throws `conflict` if there is one of that name. */
  async create(deployment: FunctionDeployment, failedLate: FailedLate): Promise<void> {
    const deployed = this.#checked(functionOf(deployment));
    await this.#untilLate(deployed, failedLate, async () => {
      const after = await this.#deps.functions.create({ ...deployed.body, name: deployed.name });
      await this.#deps.annotatedSchedules.follow({ after });
    });
  }

  /** Replaces what a deployment before has said of a function; throws `not_found`. */
  async update(deployment: FunctionDeployment, failedLate: FailedLate): Promise<void> {
    const before = this.#deps.functions.get(deployment.service);
    const { notes } = notesIn(before.labels);
    const deployed = this.#checked(functionOf(deployment, notes));
    await this.#untilLate(deployed, failedLate, async () => {
      const after = await this.#deps.functions.update(before.id, deployed.body);
      await this.#deps.annotatedSchedules.follow({ before, after });
    });
  }

  /** Deletes a function; throws `conflict` for one that something else leads to. */
  async delete(name: string): Promise<void> {
    await this.#deps.functions.delete(name, { cascade: false });
  }

  /** Keeps so many instances of a function ready. */
  async scale(name: string, replicas: number): Promise<void> {
    const { id, warm_max, contract } = this.#deps.functions.get(name);
    const warm_min = Math.min(Math.max(0, Math.trunc(replicas)), WARM_MIN.max);
    const usual = contract === "http" ? HTTP_WARM_MAX : WARM_MAX.default;
    await this.#deps.functions.update(id, { warm_min, warm_max: Math.max(warm_min, Math.min(warm_max, usual)) });
  }

  /** Checks what a deployment became, as some of its fields may have what no function can. */
  #checked(deployed: Deployed): Deployed {
    const { body } = deployed;
    if (!Value.Check(CreateFunction, body)) {
      const Errors = (wrong: unknown) => Value.Errors(CreateFunction, wrong);
      throw new AppError("invalid_request", validationMessage("body", { schema: CreateFunction, Errors }, body));
    }
    this.#deps.annotatedSchedules.check(body.labels);
    return deployed;
  }

  /** Waits for work until the client would give up: then it goes on, and `failedLate` gets its error. */
  async #untilLate({ name }: Deployed, failedLate: FailedLate, work: () => Promise<void>): Promise<void> {
    const { clock, log } = this.#deps;
    const { promise: late, resolve } = Promise.withResolvers<"late">();
    const cancel = clock.after(ANSWER_MS, () => resolve("late"));
    const done = work();
    try {
      if ((await Promise.race([done, late])) !== "late") return;
      log.info("a deployment goes on after its answer", { function: name });
      done.catch((error: unknown) => {
        log.warn("a deployment failed after its answer", { function: name, error });
        failedLate(error);
      });
    } finally {
      cancel();
    }
  }

  #status(fn: Function, calls: ReadonlyMap<string, number>): FunctionStatus {
    return statusOf(fn, this.#deps.functions.poolsOf(fn).pool, calls.get(labelOf(fn)) ?? 0);
  }

  /** Returns the number of calls that ended since the start, by the functions' labels. */
  async #calls(): Promise<ReadonlyMap<string, number>> {
    const sums = new Map<string, number>();
    for (const { labels, value } of (await this.#deps.metrics.invocations.get()).values) {
      const name = String(labels["function"]);
      sums.set(name, (sums.get(name) ?? 0) + value);
    }
    return sums;
  }
}
