import { type RefObject } from "preact";
import { useRef, useState } from "preact/hooks";
import type { ChangedFunction, Function } from "../../../domain/functions/functions.ts";
import type { PullProgress } from "../../../domain/images/pull-progress.ts";
import { ApiError, segment } from "../../data/api.ts";
import { changeFunction } from "../../data/pull.ts";
import type { Control } from "./field.tsx";
import { changesOf, FieldProblem, fieldIn, type Values, valuesOf } from "./values.ts";

type State =
  | { readonly name: "idle"; readonly error?: ApiError; readonly problem?: FieldProblem }
  | { readonly name: "busy"; readonly progress?: PullProgress };

/** A form while it is filled in and sent. */
export interface Deployment {
  readonly form: RefObject<HTMLFormElement>;
  readonly busy: boolean;
  /** The pull, once one has begun. */
  readonly progress: PullProgress | undefined;
  /** An error that is about no field. */
  readonly error: ApiError | undefined;
  readonly control: (name: string) => Control;
  readonly submit: (event: Event) => void;
}

/** Keeps what is in a form, and sends what has changed in it; a problem is shown at its field, which gets the focus. */
export function useDeployment(fn: Function | undefined, onSaved: (saved: ChangedFunction) => void): Deployment {
  const [before, setBefore] = useState<Values>(() => valuesOf(fn));
  const [values, setValues] = useState<Values>(before);
  const [state, setState] = useState<State>({ name: "idle" });
  const form = useRef<HTMLFormElement>(null);
  const problem = state.name === "idle" ? state.problem : undefined;
  const deploy = async (): Promise<void> => {
    try {
      const body = changesOf(before, values);
      setState({ name: "busy" });
      const onProgress = (progress: PullProgress) => setState({ name: "busy", progress });
      const saved = await changeFunction({ ...targetOf(fn), body, onProgress });
      setState({ name: "idle" });
      if (fn !== undefined) {
        setBefore(valuesOf(saved));
        setValues(valuesOf(saved));
      }
      onSaved(saved);
    } catch (error) {
      const wrong = problemIn(error);
      setState({ name: "idle", ...(wrong === undefined ? { error: errorIn(error) } : { problem: wrong }) });
      if (wrong !== undefined) show(form.current, wrong.field);
    }
  };
  return {
    form,
    busy: state.name === "busy",
    progress: state.name === "busy" ? state.progress : undefined,
    error: state.name === "idle" ? state.error : undefined,
    control: (name) => ({
      value: values[name] ?? "",
      problem: problem?.field === name ? problem.message : undefined,
      onInput: (text) => setValues((all) => ({ ...all, [name]: text })),
    }),
    submit: (event) => {
      event.preventDefault();
      if (state.name === "idle") void deploy();
    },
  };
}

function targetOf(fn: Function | undefined) {
  if (fn === undefined) return { method: "POST", path: "/v1/functions" } as const;
  return { method: "PATCH", path: `/v1/functions/${segment(fn.id)}` } as const;
}

/** Returns the problem of a field that an error is about: the form's own, or the server's. */
function problemIn(error: unknown): FieldProblem | undefined {
  if (error instanceof FieldProblem) return error;
  if (!(error instanceof ApiError)) return undefined;
  const field = fieldIn(error.message, error.reason);
  return field === undefined ? undefined : new FieldProblem(field, error.message);
}

function errorIn(error: unknown): ApiError {
  return error instanceof ApiError ? error : new ApiError(String(error), { status: 0, reason: "internal" });
}

/** Leads its reader to a field, also to one that is folded away. */
function show(form: HTMLFormElement | null, name: string): void {
  const control = form?.elements.namedItem(name);
  if (!(control instanceof HTMLElement)) return;
  const folded = control.closest("details");
  if (folded !== null) folded.open = true;
  control.focus();
}
