/** A state as the part of an address after `#`, and back: JSON, deflated, in base64url. */
import type { SharedState } from "./sharedState.ts";

/** A link that inflates to more than this is refused: it would only be there to fill memory. */
const MOST_BYTES = 32 * 1024 * 1024;
/** `String.fromCharCode` takes its bytes as arguments, of which there may not be too many. */
const CHUNK = 8_192;

export async function encodeState(state: SharedState): Promise<string> {
  const deflated = new Blob([JSON.stringify(state)]).stream().pipeThrough(new CompressionStream("deflate-raw"));
  const bytes = new Uint8Array(await new Response(deflated).arrayBuffer());
  let binary = "";
  for (let at = 0; at < bytes.length; at += CHUNK) binary += String.fromCharCode(...bytes.subarray(at, at + CHUNK));
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Undefined: no link of ours, or a damaged one. */
export async function decodeState(text: string): Promise<SharedState | undefined> {
  if (!/^[\w-]+$/.test(text)) return undefined;
  try {
    const binary = atob(text.replaceAll("-", "+").replaceAll("_", "/"));
    const bytes = Uint8Array.from(binary, (character) => character.charCodeAt(0));
    const json = await inflated(bytes);
    if (json === undefined) return undefined;
    const value: unknown = JSON.parse(json);
    return isState(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

async function inflated(bytes: Uint8Array<ArrayBuffer>): Promise<string | undefined> {
  const reader = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw")).getReader();
  const decoder = new TextDecoder();
  let text = "";
  let length = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return text + decoder.decode();
    length += value.length;
    if (length > MOST_BYTES) return undefined;
    text += decoder.decode(value, { stream: true });
  }
}

function isState(value: unknown): value is SharedState {
  if (typeof value !== "object" || value === null) return false;
  const { version, origin, packets, compared, node, limit, replay } = value as Partial<
    Record<keyof SharedState, unknown>
  >;
  if (compared !== undefined && !(Array.isArray(compared) && compared.every(isText))) return false;
  if (node !== undefined && !isText(node)) return false;
  if (replay !== undefined && !isReplay(replay)) return false;
  if (limit !== undefined && !(typeof limit === "number" && limit >= 1)) return false;
  if (version !== 1 || typeof origin !== "object" || origin === null) return false;
  if (packets !== undefined && !(Array.isArray(packets) && packets.every((each) => typeof each === "object")))
    return false;
  const { kind, files, scenario, name } = origin as Record<string, unknown>;
  if (kind === "served") return true;
  if (kind === "bundled") return typeof name === "string";
  return kind === "text" && isFiles(files) && (scenario === undefined || isFile(scenario));
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isFile(value: unknown): boolean {
  const { name, text } = (value ?? {}) as Record<string, unknown>;
  return isText(name) && isText(text);
}

function isFiles(value: unknown): boolean {
  return Array.isArray(value) && value.every(isFile);
}

function isReplay(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const { recording, beside, before, after, prune, filter } = value as Record<string, unknown>;
  const isAbsentOr = (each: unknown, is: (one: unknown) => boolean) => each === undefined || is(each);
  const isRecording = (each: unknown) => {
    const { name, size, text } = (each ?? {}) as Record<string, unknown>;
    return isText(name) && typeof size === "number" && size >= 0 && isAbsentOr(text, isText);
  };
  return (
    isAbsentOr(recording, isRecording) &&
    isAbsentOr(beside, isText) &&
    isAbsentOr(before, isFiles) &&
    isAbsentOr(after, isFiles) &&
    isAbsentOr(prune, (each) => typeof each === "boolean") &&
    isAbsentOr(filter, isText)
  );
}
