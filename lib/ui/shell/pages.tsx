import { Link, Route, Switch } from "wouter-preact";
import { type Rights, useRights } from "../data/session.ts";
import { Empty } from "../parts/notices.tsx";
import { Page } from "../parts/page.tsx";
import { AuditPage } from "../pages/audit.tsx";
import { DeadLettersPage } from "../pages/dead-letters.tsx";
import { DeployPage } from "../pages/deploy/deploy.tsx";
import { FunctionPage } from "../pages/function/function.tsx";
import { FunctionsPage } from "../pages/functions.tsx";
import { InvocationPage } from "../pages/invocation/invocation.tsx";
import { InvocationsPage } from "../pages/invocations.tsx";
import { KeysPage } from "../pages/keys.tsx";
import { OverviewPage } from "../pages/overview/overview.tsx";
import { RegistriesPage } from "../pages/registries.tsx";
import { RoutesPage } from "../pages/routes.tsx";
import { SchedulesPage } from "../pages/schedules.tsx";
import { SecretsPage } from "../pages/secrets.tsx";
import { SystemPage } from "../pages/system.tsx";
import { PLACES } from "./navigation.ts";

const PAGES = {
  "/": OverviewPage,
  "/functions": FunctionsPage,
  "/invocations": InvocationsPage,
  "/dead-letters": DeadLettersPage,
  "/routes": RoutesPage,
  "/schedules": SchedulesPage,
  "/secrets": SecretsPage,
  "/registries": RegistriesPage,
  "/keys": KeysPage,
  "/audit": AuditPage,
  "/system": SystemPage,
} as const;

/** The page of the current address, if the reader may see it. */
export function Pages() {
  const rights = useRights();
  const allowed = (path: string) => isAllowed(path, rights);
  return (
    <Switch>
      {Object.entries(PAGES).map(([path, Shown]) => (
        <Route key={path} path={path}>
          {allowed(path) ? <Shown /> : <NotAllowed />}
        </Route>
      ))}
      <Route path="/deploy">{rights.deploy ? <DeployPage /> : <NotAllowed />}</Route>
      <Route path="/functions/:name">
        {({ name }: { name: string }) =>
          allowed("/functions") ? <FunctionPage name={decoded(name)} /> : <NotAllowed />
        }
      </Route>
      <Route path="/invocations/:id">
        {({ id }: { id: string }) => (allowed("/invocations") ? <InvocationPage id={decoded(id)} /> : <NotAllowed />)}
      </Route>
      <Route>
        <Page title="No such page">
          <Empty title="There is nothing at this address">
            <Link href="/">The overview</Link> leads to all pages.
          </Empty>
        </Page>
      </Route>
    </Switch>
  );
}

function isAllowed(path: string, rights: Rights): boolean {
  return PLACES.flat().some((place) => place.path === path && place.isFor(rights));
}

function NotAllowed() {
  return (
    <Page title="Not allowed">
      <Empty title="Your key may not see this page">
        An administrator can make another key, with more scopes, on the page “Keys” or with POST /v1/keys.
      </Empty>
    </Page>
  );
}

/** The router decodes names itself; one that is malformed stays as it is. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
