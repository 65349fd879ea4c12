import { useCallback, useEffect, useState } from "preact/hooks";
import { Router } from "wouter-preact";
import { ApiError, ask, LOGGED_OUT } from "../data/api.ts";
import { type Session, SessionContext } from "../data/session.ts";
import { Loading, Problem } from "../parts/notices.tsx";
import { Login } from "./login.tsx";
import { Shell } from "./shell.tsx";

type State =
  | { readonly name: "asking" }
  | { readonly name: "out" }
  | { readonly name: "in"; readonly session: Session }
  | { readonly name: "failed"; readonly error: ApiError };

const RETRY_MS = 2_000;

/** The whole dashboard: the login, or the pages. */
export function App() {
  const [state, setState] = useState<State>({ name: "asking" });
  const enter = useCallback((session: Session) => setState({ name: "in", session }), []);
  const look = useCallback(() => {
    ask<Session>("/ui/session").then(enter, (error: unknown) => {
      if (!(error instanceof ApiError)) return;
      setState(error.status === 401 ? { name: "out" } : { name: "failed", error });
    });
  }, [enter]);
  useEffect(look, [look]);
  useEffect(() => {
    const out = () => setState({ name: "out" });
    window.addEventListener(LOGGED_OUT, out);
    return () => window.removeEventListener(LOGGED_OUT, out);
  }, []);
  useEffect(() => {
    if (state.name !== "failed" || state.error.status !== 0) return;
    const timer = setTimeout(look, RETRY_MS);
    return () => clearTimeout(timer);
  }, [state, look]);
  if (state.name === "in") {
    return (
      <SessionContext.Provider value={state.session}>
        <Router base="/ui">
          <Shell onLogout={() => setState({ name: "out" })} />
        </Router>
      </SessionContext.Provider>
    );
  }
  if (state.name === "out") return <Login onLogin={enter} />;
  return (
    <main class="alone">
      <h1>Slipway</h1>
      {state.name === "asking" ? <Loading /> : <Problem error={state.error} onRetry={look} />}
    </main>
  );
}
