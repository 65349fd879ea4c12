import type { FlagName } from "./flags.ts";
import type { Define } from "./tools.ts";

/** The options that a command obeys, besides its own. All commands accept all of them. */
export type Uses = "server" | "client" | "data" | "engine" | "nothing";

export interface CommandEntry {
  readonly summary: string;
  readonly group: keyof typeof GROUPS;
  readonly uses: Uses;
  /** The flags of `FLAGS` that it takes. */
  readonly flags: readonly FlagName[];
  /** True for commands that programs use: the help does not show them. */
  readonly isHidden?: true;
  /** Loads the file of the command, which only then takes time. */
  readonly load: () => Promise<{ readonly define: Define }>;
}

/** The headings of the help, in order. */
export const GROUPS = {
  functions: "Functions:",
  calls: "Calls:",
  access: "Access:",
  server: "Server:",
  tool: "This program:",
} as const;

const ofFunctions = { group: "functions", uses: "client", flags: ["json"] } as const;
const ofCalls = { group: "calls", uses: "client", flags: ["json"] } as const;
const ofAccess = { group: "access", uses: "client", flags: ["json"] } as const;
const ofServer = { group: "server", uses: "server", flags: [] } as const;
const ofTool = { group: "tool", uses: "nothing", flags: [] } as const;

/** All commands, in the order of the help. */
export const COMMANDS = {
  deploy: {
    ...ofFunctions,
    summary: "Put a folder or an image online: build it, register it and give it a URL",
    load: () => import("./commands/functions/deploy.ts"),
  },
  dev: {
    ...ofFunctions,
    flags: [],
    summary: "Run a folder while you work on it: build it again at each change, and show its calls",
    load: () => import("./commands/functions/dev.ts"),
  },
  new: {
    ...ofFunctions,
    uses: "nothing",
    summary: "Write a sample function into a new folder",
    load: () => import("./commands/functions/new.ts"),
  },
  ls: { ...ofFunctions, summary: "List the functions", load: () => import("./commands/functions/ls.ts") },
  show: {
    ...ofFunctions,
    summary: "Show a function: its settings and its instances",
    load: () => import("./commands/functions/show.ts"),
  },
  rm: { ...ofFunctions, summary: "Delete functions", load: () => import("./commands/functions/rm.ts") },
  versions: {
    ...ofFunctions,
    summary: "List the versions of a function",
    load: () => import("./commands/functions/versions.ts"),
  },
  rollback: {
    ...ofFunctions,
    summary: "Go back to an earlier version of a function",
    load: () => import("./commands/functions/rollback.ts"),
  },
  routes: {
    ...ofFunctions,
    summary: "List routes; create and delete them",
    load: () => import("./commands/functions/routes.ts"),
  },
  apply: {
    ...ofFunctions,
    flags: ["json", "dry-run", "prune", "pull", "skip-probe"],
    summary: "Make functions and routes what a manifest says",
    load: () => import("./commands/functions/apply.ts"),
  },
  export: {
    ...ofFunctions,
    summary: "Print all functions and routes as a manifest",
    load: () => import("./commands/functions/export.ts"),
  },

  invoke: { ...ofCalls, summary: "Call a function", load: () => import("./commands/calls/invoke.ts") },
  logs: { ...ofCalls, summary: "Show what a function has printed", load: () => import("./commands/calls/logs.ts") },
  invocations: {
    ...ofCalls,
    summary: "List the calls that were made; show one, or cancel it",
    load: () => import("./commands/calls/invocations.ts"),
  },
  stats: {
    ...ofCalls,
    summary: "Show how many calls there were, how they ended and how long they took",
    load: () => import("./commands/calls/stats.ts"),
  },
  ps: { ...ofCalls, summary: "Show the instances of functions", load: () => import("./commands/calls/ps.ts") },
  queue: {
    ...ofCalls,
    summary: "List asynchronous calls that wait or run",
    load: () => import("./commands/calls/queue.ts"),
  },
  dead: {
    ...ofCalls,
    summary: "List asynchronous calls that have failed for good; replay them",
    load: () => import("./commands/calls/dead.ts"),
  },
  schedules: {
    ...ofCalls,
    summary: "List schedules; create, pause and delete them",
    load: () => import("./commands/calls/schedules.ts"),
  },

  login: {
    ...ofAccess,
    summary: "Save the address and the key of a server",
    load: () => import("./commands/access/login.ts"),
  },
  logout: { ...ofAccess, summary: "Forget a saved server", load: () => import("./commands/access/logout.ts") },
  servers: {
    ...ofAccess,
    summary: "List the saved servers; choose one",
    load: () => import("./commands/access/servers.ts"),
  },
  keys: {
    ...ofAccess,
    summary: "List API keys; create and revoke them",
    load: () => import("./commands/access/keys.ts"),
  },
  secrets: {
    ...ofAccess,
    summary: "List secrets; set and delete them",
    load: () => import("./commands/access/secrets.ts"),
  },
  registries: {
    ...ofAccess,
    summary: "List registries with credentials; set and delete them",
    load: () => import("./commands/access/registries.ts"),
  },
  audit: {
    ...ofAccess,
    summary: "Show who changed what, and whose key was refused",
    load: () => import("./commands/access/audit.ts"),
  },

  serve: {
    ...ofServer,
    summary: "Start the server (the default command)",
    load: () => import("./commands/serving/serve.ts"),
  },
  status: {
    ...ofServer,
    uses: "client",
    flags: ["json"],
    summary: "Show how a running server is doing",
    load: () => import("./commands/serving/status.ts"),
  },
  healthcheck: {
    ...ofServer,
    uses: "client",
    summary: "Ask a server whether it is ready; exit 0 if it is",
    load: () => import("./commands/serving/healthcheck.ts"),
  },
  backup: {
    ...ofServer,
    uses: "data",
    summary: "Copy the database to a new file; safe while the server is running",
    load: () => import("./commands/serving/backup.ts"),
  },
  move: {
    ...ofServer,
    uses: "data",
    flags: ["json", "dry-run"],
    summary: "Move the database of a stopped server to PostgreSQL",
    load: () => import("./commands/serving/move.ts"),
  },
  sweep: {
    ...ofServer,
    uses: "engine",
    summary: "Remove the containers that a killed server left on the engine",
    load: () => import("./commands/serving/sweep.ts"),
  },
  openapi: {
    ...ofServer,
    uses: "nothing",
    summary: "Print the OpenAPI document",
    load: () => import("./commands/serving/openapi.ts"),
  },

  completion: {
    ...ofTool,
    summary: "Print what makes a shell complete commands and names",
    load: () => import("./commands/tool/completion.ts"),
  },
  upgrade: {
    ...ofTool,
    summary: "Replace this program by one from a release",
    load: () => import("./commands/tool/upgrade.ts"),
  },
  complete: {
    ...ofTool,
    isHidden: true,
    summary: "Print what a shell may complete",
    load: () => import("./commands/tool/complete.ts"),
  },
  help: { ...ofTool, summary: "Print this help, or that of a command", load: () => import("./commands/tool/help.ts") },
  version: { ...ofTool, summary: "Print the version", load: () => import("./commands/tool/version.ts") },
} as const satisfies Readonly<Record<string, CommandEntry>>;

export type CommandName = keyof typeof COMMANDS;

/** Returns whether a text is the name of a command. */
export function isCommand(text: string): text is CommandName {
  return Object.hasOwn(COMMANDS, text);
}
