import architecture from "../../docs/architecture.md" with { type: "file" };
import asynchronousCalls from "../../docs/asynchronous-calls.md" with { type: "file" };
import awsClients from "../../docs/clients/aws-clients.md" with { type: "file" };
import benchmarks from "../../docs/benchmarks.md" with { type: "file" };
import configuration from "../../docs/configuration.md" with { type: "file" };
import contracts from "../../docs/contracts.md" with { type: "file" };
import contributing from "../../docs/contributing.md" with { type: "file" };
import functions from "../../docs/functions.md" with { type: "file" };
import manifest from "../../docs/manifest.md" with { type: "file" };
import operationsAndSecurity from "../../docs/operations-and-security.md" with { type: "file" };
import poolsAndIsolation from "../../docs/pools-and-isolation.md" with { type: "file" };
import postgresql from "../../docs/deploy/postgresql.md" with { type: "file" };
import reverseProxy from "../../docs/reverse-proxy.md" with { type: "file" };
import routes from "../../docs/routes.md" with { type: "file" };
import secretsAndRegistries from "../../docs/secrets-and-registries.md" with { type: "file" };
import settings from "../../docs/settings.md" with { type: "file" };
import severalMachines from "../../docs/deploy/several-machines.md" with { type: "file" };
import versions from "../../docs/versions.md" with { type: "file" };
import { embeddedText } from "./embedded-file.ts";
import { renderPage, type RenderedPage } from "./markdown.ts";

/**
 * The files of the pages of lib/docs by subject, in reading order; the name is the file's, in whatever folder, and the last part of its
 * address.
 */
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
  for (const [title, files] of Object.entries(PAGES)) {
    const pages: RenderedPage[] = [];
    for (const [name, file] of Object.entries<string>(files)) {
      pages.push(renderPage(name, await embeddedText(file)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    chapters.push({ title, pages });
  }
  return chapters;
}
