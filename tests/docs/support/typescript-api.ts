// For `bun --preload`: packages that use the compiler as a library find TypeScript 6. Ours, TypeScript 7, has no such API yet.
import ts from "@typescript/typescript6";

Bun.plugin({
  name: "typescript-api",
  setup(build) {
    const filter = /\/node_modules\/typescript\/lib\/version\.cjs$/;
    build.onLoad({ filter }, () => ({ exports: { ...ts, default: ts }, loader: "object" }));
  },
});
