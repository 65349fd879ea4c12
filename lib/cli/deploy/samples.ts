import type { TemplateName } from "./templates.ts";

const JS = `// The request body is standard input; what is printed is the answer.
import { readFileSync } from "node:fs";

const name = readFileSync(0, "utf8").trim() || "world";
console.log(JSON.stringify({ hello: name }));
`;

/** The files of a new function, for each template. */
export const SAMPLES: Readonly<Record<TemplateName, Readonly<Record<string, string>>>> = {
  script: { "index.js": JS },
  bun: {
    "package.json":
      '{\n  "name": "function",\n  "private": true,\n  "type": "module",\n  "main": "index.js",\n  "packageManager": "bun@1.4.5"\n}\n',
    ".dockerignore": "node_modules\n",
    "index.js": JS,
  },
  node: {
    "package.json": '{\n  "name": "function",\n  "private": true,\n  "type": "module",\n  "main": "index.js"\n}\n',
    ".dockerignore": "node_modules\n",
    "index.js": JS,
  },
  python: {
    "requirements.txt": "# One package a line.\n",
    "main.py": `# The request body is standard input; what is printed is the answer.
import json
import sys

name = sys.stdin.read().strip() or "world"
print(json.dumps({"hello": name}))
`,
  },
  go: {
    "go.mod": "module function\n\ngo 1.19\n",
    "main.go": `// The request body is standard input; what is printed is the answer.
package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
)

func main() {
	body, err := io.ReadAll(os.Stdin)
	if err != nil {
		panic(err)
	}
	name := strings.TrimSpace(string(body))
	if name == "" {
		name = "world"
	}
	json.NewEncoder(os.Stdout).Encode(map[string]string{"hello": name})
}
`,
  },
  static: {
    "index.html": "<!doctype html>\n<title>Hello</title>\n<h1>Hello, world</h1>\n",
  },
};
