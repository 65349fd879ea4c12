import { useContext, useEffect, useRef, useState } from "preact/hooks";
import { Link, useLocation } from "wouter-preact";
import { send } from "../data/api.ts";
import { rightsOf, SessionContext } from "../data/session.ts";
import { isAt, PLACES } from "./navigation.ts";
import { Pages } from "./pages.tsx";

/** The frame around all pages: the way to them, and who the reader is. */
export function Shell({ onLogout }: { readonly onLogout: () => void }) {
  const session = useContext(SessionContext);
  const [location] = useLocation();
  const [isOpen, setOpen] = useState(false);
  const main = useRef<HTMLElement>(null);
  const isFirst = useRef(true);
  useEffect(() => {
    setOpen(false);
    // A new page begins at its top; a screen reader reads it from there.
    if (!isFirst.current) main.current?.focus();
    isFirst.current = false;
    window.scrollTo(0, 0);
  }, [location]);
  const logOut = () => {
    void send("/ui/logout", { method: "POST" }).then(onLogout, onLogout);
  };
  return (
    <>
      <a class="skip" href="#content" onClick={() => main.current?.focus()}>
        Skip to the page
      </a>
      <header>
        <Link class="brand" href="/">
          Slipway <span>{session.version}</span>
        </Link>
        <button id="menu" type="button" aria-controls="places" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          Menu
        </button>
        <nav class="elsewhere" aria-label="Documentation">
          <a href="/docs">Manual</a>
          <a href="/swagger">API</a>
        </nav>
        {session.key === null ? null : (
          <div class="reader">
            <span title={`Key ${session.key.id}: ${session.scopes.join(", ")}`}>{session.key.name}</span>
            <button type="button" onClick={logOut}>
              Log out
            </button>
          </div>
        )}
      </header>
      <div class="columns">
        <Places isOpen={isOpen} location={location} />
        <main id="content" tabIndex={-1} ref={main}>
          <Pages />
        </main>
      </div>
    </>
  );
}

function Places({ isOpen, location }: { readonly isOpen: boolean; readonly location: string }) {
  const rights = rightsOf(useContext(SessionContext).scopes);
  return (
    <nav id="places" class={isOpen ? "open" : ""} aria-label="Pages">
      {PLACES.map((group) => group.filter((place) => place.isFor(rights)))
        .filter((group) => group.length > 0)
        .map((group) => (
          <ul key={group.map(({ path }) => path).join()}>
            {group.map((place) => (
              <li key={place.path}>
                <Link href={place.path} aria-current={isAt(place, location) ? "page" : undefined}>
                  {place.name}
                </Link>
              </li>
            ))}
          </ul>
        ))}
    </nav>
  );
}
