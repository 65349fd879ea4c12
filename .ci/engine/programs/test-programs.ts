/** The compiler for the other architecture, which the gate is built for, too. Tests run its programs in an emulator. */
const FOREIGN: Readonly<Record<string, readonly string[]>> =
  process.arch === "arm64"
    ? { "x86_64-linux-gnu-gcc": ["gcc-x86-64-linux-gnu", "libc6-dev-amd64-cross"] }
    : {
        "aarch64-linux-gnu-gcc": ["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"],
        "qemu-aarch64": ["qemu-user"],
      };

/**
 * The programs that the tests ask for one by one, with their packages of Debian. `bun run test` without arguments installs all that are
 * missing at once: a call of apt takes 4 s of the processor for one package and hardly more for three. Left out are large
 * ones that a machine may have under another name.
 */
export const TEST_PROGRAMS: Readonly<Record<string, readonly string[]>> = {
  ...FOREIGN,
  busybox: ["busybox-static"],
  curl: ["curl"],
  "curl-config": ["libcurl4-openssl-dev"],
  dash: ["dash"],
  debootstrap: ["debootstrap"],
  docker: ["docker.io"],
  "docker-init": ["docker.io"],
  "docker-registry": ["docker-registry"],
  dockerd: ["docker.io", "iptables", "ca-certificates"],
  fish: ["fish"],
  "g++": ["g++"],
  gcc: ["gcc", "libc6-dev"],
  git: ["git"],
  ip: ["iproute2"],
  iptables: ["iptables"],
  jq: ["jq"],
  "musl-gcc": ["musl-tools"],
  nft: ["nftables"],
  nginx: ["nginx-light"],
  node: ["nodejs"],
  openssl: ["openssl"],
  perl: ["perl-base"],
  "php-cgi": ["php-cgi"],
  pip3: ["python3-pip"],
  runsc: ["runsc"],
  script: ["bsdutils"],
  shasum: ["perl"],
  sox: ["sox"],
  unshare: ["util-linux"],
  wget: ["wget"],
  zsh: ["zsh", "bash-completion"],
};
