/** Files that become part of the program as text. */
declare module "*.md" {
  const text: string;
  export default text;
}
declare module "*.css" {
  const text: string;
  export default text;
}
declare module "*/search-box.js" {
  const text: string;
  export default text;
}
