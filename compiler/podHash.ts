/** What solutions name a pod's end of a veth pair by, where the real name comes of a container's id or of chance. */
import { rememberedBy } from "./again.ts";
import { sha1, toHex } from "./hash.ts";
import type { Endpoint } from "./model.ts";

/** The first digits of the SHA-1 of the pod's key in hex. */
export function podHash(pod: Endpoint, digits: number): string {
  return rememberedBy(HASHES, pod, ({ key }) => toHex(sha1(key))).slice(0, digits);
}

/** Asked for by every strategy, in every state of a cluster. */
const HASHES = new WeakMap<Endpoint, string>();
