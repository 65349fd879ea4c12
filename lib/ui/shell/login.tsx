import { useEffect, useState } from "preact/hooks";
import { ask } from "../data/api.ts";
import type { Session } from "../data/session.ts";
import { useAction } from "../data/use-action.ts";
import { Problem } from "../parts/notices.tsx";

/** Asks for an API key. It is sent once, for a cookie that ends with the key. */
export function Login({ onLogin }: { readonly onLogin: (session: Session) => void }) {
  const [key, setKey] = useState("");
  const action = useAction();
  useEffect(() => {
    document.title = "Log in - Slipway";
  }, []);
  const submit = (event: Event) => {
    event.preventDefault();
    action.run(async () => {
      onLogin(await ask<Session>("/ui/login", { method: "POST", body: { key: key.trim() } }));
      return "";
    });
  };
  return (
    <main class="alone">
      <h1>Slipway</h1>
      <form class="card" onSubmit={submit}>
        <label for="key">API key</label>
        <input
          id="key"
          type="password"
          autocomplete="current-password"
          spellcheck={false}
          required
          autofocus
          value={key}
          onInput={(event) => setKey(event.currentTarget.value)}
        />
        <button type="submit" class="primary" disabled={action.busy || key.trim() === ""}>
          Log in
        </button>
        <Problem error={action.error} />
        <p class="quiet">
          The key that the server was given as <code>API_KEY</code>, or printed at its first start; or one that an
          administrator made. What the key may do is what you see here. A login lasts 12 hours.
        </p>
      </form>
    </main>
  );
}
