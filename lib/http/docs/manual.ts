import architecture from "../../docs/architecture.md" with { type: "text" };
import asynchronousCalls from "../../docs/asynchronous-calls.md" with { type: "text" };
import awsClients from "../../docs/clients/aws-clients.md" with { type: "text" };
import benchmarks from "../../docs/benchmarks.md" with { type: "text" };
import configuration from "../../docs/configuration.md" with { type: "text" };
import contracts from "../../docs/contracts.md" with { type: "text" };
import contributing from "../../docs/contributing.md" with { type: "text" };
import functions from "../../docs/functions.md" with { type: "text" };
import manifest from "../../docs/manifest.md" with { type: "text" };
import operationsAndSecurity from "../../docs/operations-and-security.md" with { type: "text" };
import poolsAndIsolation from "../../docs/pools-and-isolation.md" with { type: "text" };
import postgresql from "../../docs/deploy/postgresql.md" with { type: "text" };
import reverseProxy from "../../docs/reverse-proxy.md" with { type: "text" };
import routes from "../../docs/routes.md" with { type: "text" };
import secretsAndRegistries from "../../docs/secrets-and-registries.md" with { type: "text" };
import settings from "../../docs/settings.md" with { type: "text" };
import severalMachines from "../../docs/deploy/several-machines.md" with { type: "text" };
import versions from "../../docs/versions.md" with { type: "text" };
import { renderPage, type RenderedPage } from "./markdown.ts";

/** The pages of lib/docs by subject, in reading order; the name is the file's, in whatever folder, and the last part of its address. */
const PAGES = {
  "Write and call functions": {
    functions,
    contracts,
    settings,
    routes,
    "asynchronous-calls": asynchronousCalls,
    "aws-clients": awsClients,
  },
  "Deploy them": {
    versions,
    manifest,
    "secrets-and-registries": secretsAndRegistries,
  },
  "Run the server": {
    "pools-and-isolation": poolsAndIsolation,
    configuration,
    "operations-and-security": operationsAndSecurity,
    "reverse-proxy": reverseProxy,
    postgresql,
    "several-machines": severalMachines,
  },
  "Look inside": {
    architecture,
    contributing,
    benchmarks,
  },
} as const satisfies Record<string, Record<string, string>>;

/** Pages that belong together, under one heading. */
export interface Chapter {
  readonly title: string;
  readonly pages: readonly RenderedPage[];
}

/** Renders the whole manual. It takes 100 ms or more, so it pauses after each page to let calls through. */
export async function renderManual(): Promise<readonly Chapter[]> {
  const chapters: Chapter[] = [];
  for (const [title, texts] of Object.entries(PAGES)) {
    const pages: RenderedPage[] = [];
    for (const [name, markdown] of Object.entries<string>(texts)) {
      pages.push(renderPage(name, markdown));
      await new Promise((resolve) => setImmediate(resolve));
    }
    chapters.push({ title, pages });
  }
  return chapters;
}
