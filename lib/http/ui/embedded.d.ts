/** The dashboard's first module, as a path; the binary has its whole bundle there (.ci/compile-server.ts). */
declare module "*/ui/start.js" {
  const path: string;
  export default path;
}
