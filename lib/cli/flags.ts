/** Flags that, like all options, may also come before the command. */
export const FLAGS = {
  json: "Print JSON, for programs.",
  "dry-run": "Only print what would change; exit 3 if there are changes.",
  prune: "Delete functions and routes that FILE does not mention; unnamed functions stay.",
  pull: "Pull all images again.",
  "skip-probe": "Do not try out the web servers that change.",
} as const;

export type FlagName = keyof typeof FLAGS;
