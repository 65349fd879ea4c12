import type { Server } from "bun";
import { Elysia } from "elysia";
import { Type } from "@sinclair/typebox";
import type { Caller } from "../../domain/keys.ts";
import type { AuditService } from "../../services/access/audit.ts";
import type { KeyService } from "../../services/access/keys.ts";
import { SESSION_MS, type SessionService } from "../../services/access/sessions.ts";
import type { KeyCheck } from "../access/access.ts";
import type { ClientAddress, ClientUsesTls } from "../access/client-address.ts";
import { type Guard, resource } from "../access/guard.ts";
import { checkOwnPage } from "../access/own-page.ts";
import { sessionCookie, sessionIn } from "../access/session-cookie.ts";
import { parseJson } from "../wire/body.ts";
import { success } from "../wire/envelope.ts";
import { bodyCheck } from "../wire/validation-message.ts";

/** The dependencies of logins. */
export interface SessionTools {
  readonly checkKey: KeyCheck;
  readonly sessions: SessionService;
  readonly keys: Pick<KeyService, "get">;
  readonly audit: Pick<AuditService, "changed">;
  readonly clientAddress: ClientAddress;
  readonly clientUsesTls: ClientUsesTls;
  readonly server: () => Server<unknown> | null;
  readonly version: string;
}

/** The most bytes of the body of a login. */
const LOGIN_BYTES = 8 * 1024;

const Login = Type.Object(
  { key: Type.String({ minLength: 1, maxLength: 4_096, description: "The API key." }) },
  { additionalProperties: false },
);

/**
 * `POST /ui/login` opens a session for a key and keeps it in a cookie, `POST /ui/logout` ends it, and `GET /ui/session` says who
 * somebody is and what that key may do.
 */
export function sessionRoutes(guard: Guard<"read">, tools: SessionTools) {
  const { checkKey, sessions, server, clientUsesTls } = tools;
  const checkBody = bodyCheck(Login);
  const hidden = () => ({ parse: "none", detail: { hide: true } }) as const;
  const open = new Elysia({ normalize: false })
    .post(
      "/ui/login",
      async ({ request, set }) => {
        checkOwnPage(request);
        const address = tools.clientAddress(request, server());
        const usesTls = clientUsesTls(request, server());
        const { key } = checkBody(parseJson(await guard.readBody(request, LOGIN_BYTES))) as { key: string }; // as the schema says
        const caller = await checkKey(request, server(), key);
        set.headers["set-cookie"] = sessionCookie(request, usesTls, sessions.open(caller, key), SESSION_MS / 1_000);
        set.headers["cache-control"] = "no-store";
        const { key_id } = caller;
        tools.audit.changed({ key_id, address, method: "POST", path: "/ui/login", status: 200 });
        return success(described(caller, tools));
      },
      hidden(),
    )
    .post(
      "/ui/logout",
      async ({ request, set }) => {
        checkOwnPage(request);
        const usesTls = clientUsesTls(request, server());
        await sessions.end(sessionIn(request, usesTls) ?? "");
        set.headers["set-cookie"] = sessionCookie(request, usesTls, "", 0);
        set.headers["cache-control"] = "no-store";
        return success(null);
      },
      hidden(),
    );
  return open.use(
    resource(guard, "documentation").get(
      "/",
      ({ request, set }) => {
        set.headers["cache-control"] = "no-store";
        return success(described(guard.callerOf(request), tools));
      },
      { needs: "read", detail: { hide: true } },
    ),
  );
}

/** Returns what a page may know of its reader: the key's name and rights. Without a key it is an administrator of this machine. */
function described({ key_id, scopes, function_id }: Caller, { keys, version }: SessionTools) {
  const record = key_id === null || key_id === "server" ? undefined : keys.get(key_id);
  return {
    key: key_id === null ? null : { id: key_id, name: record?.name ?? "the server's own key" },
    expires_at: record?.expires_at ?? null,
    scopes,
    function_id,
    version,
  };
}
