/** Extensions, as the text of their programs: by the name of their file. */
export type Programs = Readonly<Record<string, string>>;

/**
 * Returns a command in front of a gate that gives it a folder /opt/extensions of its own. The programs run in sh, and get the mode
 * 0755; `prepare` is more of the script that makes the folder, which is its working directory.
 */
export function withExtensions(programs: Programs, prepare = ""): string[] {
  const files = Object.entries(programs).flatMap(([name, text]) => [name, `#!/bin/sh\n${text}\n`]);
  const script = `
    set -e
    mount -t tmpfs none /opt
    mkdir /opt/extensions
    here="$PWD"
    cd /opt/extensions
    while [ "$1" != -- ]; do
      printf %s "$2" > "$1"
      chmod 755 "$1"
      shift 2
    done
    shift
    ${prepare}
    cd "$here"
    exec "$@"`;
  return ["unshare", "--mount", "sh", "-c", script, "sh", ...files, "--"];
}
