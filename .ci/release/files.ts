import { SetupError } from "../packages.ts";

/** Throws a `SetupError` unless a tag is that of a version. */
export function checkTag(tag: string, version: string): void {
  if (tag === `v${version}`) return;
  throw new SetupError(
    `The tag "${tag}" is not that of the version ${version} in package.json: it would be v${version}`,
  );
}

/** Returns the install script with the address of a repository's releases in it; without one, `--from` must name it. */
export function installScript(text: string, repository: string | undefined): string {
  if (repository === undefined) return text;
  const address = `https://github.com/${checked(repository)}/releases`;
  return replaced(text, /^RELEASES=""$/m, `RELEASES="${address}"`);
}

/** Returns the compose file with the image of a repository's release in place of one that is built in a clone. */
export function composeFile(text: string, repository: string | undefined, version: string): string {
  if (repository === undefined) return text;
  return replaced(text, /^( +)image: .+\n +build: \.$/m, `$1image: ${imageName(repository)}:${version}`);
}

/** Returns the name of a repository's image. Names of images have no capitals. */
export function imageName(repository: string): string {
  return `ghcr.io/${checked(repository).toLowerCase()}`;
}

/** Returns the name of a repository; it becomes a part of a shell script. */
function checked(repository: string): string {
  if (/^[\w.-]+\/[\w.-]+$/.test(repository)) return repository;
  throw new SetupError(`"${repository}" is not the name of a repository: write it as OWNER/NAME`);
}

function replaced(text: string, pattern: RegExp, replacement: string): string {
  if (!pattern.test(text)) throw new Error(`Nothing in the file matches ${pattern}`);
  return text.replace(pattern, replacement);
}
