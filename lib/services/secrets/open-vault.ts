import type { Logger } from "../../log.ts";
import { StoreError } from "../../store/errors.ts";
import { makeKeyFile, readKeyFile } from "./key-file.ts";
import type { Store } from "../../store/store.ts";
import { newSecretKey, Vault } from "./vault.ts";

/**
 * Opens the vault of a database: with the key that was given, else the one in the key file, else, if nothing is sealed
 * yet, with a new one in that file. Throws a `StoreError` if the key is gone, or is not the one that everything was
 * sealed with.
 */
export async function openVault(
  store: Pick<Store, "settings" | "secrets" | "lostKeyRemedy">,
  options: { readonly given: Uint8Array | null; readonly key_file: string; readonly log: Logger },
): Promise<Vault> {
  const { given, key_file: file, log } = options;
  const lost = `If it is lost, so are they: ${store.lostKeyRemedy}, start again, and PUT them anew`;
  const needed = store.secrets.anythingSealed() || store.settings.callbackSecrets() !== null;
  const key = given ?? readKeyFile(file, log) ?? (needed ? missing(file, lost) : made(file, log));
  const vault = new Vault(key);
  const fingerprint = vault.fingerprint();
  if (store.settings.secretKeyFingerprint() === fingerprint) return vault;
  if (needed) {
    const source = given === null ? `The key in ${JSON.stringify(file)}` : "The key given as SECRET_KEY";
    throw new StoreError(
      `${source} is not the one that the secrets in the database were encrypted with: give that one. ${lost}`,
    );
  }
  await store.settings.setSecretKeyFingerprint(fingerprint);
  return vault;
}

function missing(file: string, lost: string): never {
  throw new StoreError(
    `The secrets in the database cannot be read: their key ${JSON.stringify(file)} is gone. Put that file back, ` +
      `or give its content as SECRET_KEY. ${lost}`,
  );
}

function made(file: string, log: Logger): Uint8Array {
  const key = newSecretKey();
  makeKeyFile(file, key);
  log.info("made a key for secrets; backups of the database need it", { path: file });
  return key;
}
