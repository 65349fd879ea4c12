import type * as http from "node:http";
import type * as net from "node:net";
import type * as tty from "node:tty";

declare global {
  namespace NodeJS {
    interface Process {
      /** Loads a module of the runtime when it is needed: these three take 2 to 4 ms each, which the start saves. */
      getBuiltinModule(name: "node:http"): typeof http;
      getBuiltinModule(name: "node:net"): typeof net;
      getBuiltinModule(name: "node:tty"): typeof tty;
    }
  }
}
