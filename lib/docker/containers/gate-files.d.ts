/** Bun's file imports have no types of their own: the value is the path, in a compiled binary too. */
declare module "*/gate-x64" {
  const path: string;
  export default path;
}
declare module "*/gate-arm64" {
  const path: string;
  export default path;
}
