import type { ComponentChildren } from "preact";
import type { ApiError } from "../data/api.ts";

const TITLES: Readonly<Record<string, string>> = {
  unreachable: "The server is away",
  shutting_down: "The server is stopping",
  engine_unavailable: "The engine is away",
  forbidden: "Not allowed with this key",
  not_found: "Not found",
  too_many_requests: "Too many requests",
  storage_full: "The disk is full",
};

/** An error, in the server's words, which say what to do. */
export function Problem({ error, onRetry }: { readonly error: ApiError | undefined; readonly onRetry?: () => void }) {
  if (error === undefined) return null;
  return (
    <div class="notice bad" role="alert">
      <strong>{TITLES[error.reason] ?? "That did not work"}</strong>
      <p>{error.message}</p>
      {error.request_id === undefined ? null : <p class="quiet">Request {error.request_id}</p>}
      {onRetry === undefined ? null : (
        <button type="button" onClick={onRetry}>
          Try again
        </button>
      )}
    </div>
  );
}

/** A sentence about something that was done. It is read out by screen readers. */
export function Done({ children }: { readonly children: ComponentChildren }) {
  return (
    <div class="done" role="status">
      {children}
    </div>
  );
}

/** A place where nothing is, and what to do about it. */
export function Empty({ title, children }: { readonly title: string; readonly children?: ComponentChildren }) {
  return (
    <div class="empty">
      <strong>{title}</strong>
      {children === undefined ? null : <div>{children}</div>}
    </div>
  );
}

/** Is seen until the first answer has come. */
export function Loading() {
  return (
    <p class="loading quiet" role="status">
      Loading…
    </p>
  );
}
