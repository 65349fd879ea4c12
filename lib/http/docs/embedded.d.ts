/** Files that become part of the program: those of the manual's pages give their path, the others their text. */
declare module "*.md" {
  const path: string;
  export default path;
}
declare module "*.css" {
  const text: string;
  export default text;
}
declare module "*/search-box.js" {
  const text: string;
  export default text;
}
