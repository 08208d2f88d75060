/** What is replayed, and how: kept while other views are looked at, and carried by a link as far as it has room. */
import { signal } from "@preact/signals";
import type { ManifestFile } from "./messages.ts";
import type { SharedReplay } from "./sharedState.ts";

export interface Recording {
  readonly name: string;
  readonly size: number;
  /** Undefined: it is somewhere else, where the link was made. */
  readonly bytes: Uint8Array<ArrayBuffer> | undefined;
  /** In a link; undefined: it is too large for one. */
  readonly text: string | undefined;
}

export type Manifests = readonly ManifestFile[] | undefined;

export const recording = signal<Recording | undefined>(undefined);
/** A second strategy, beside the one that is chosen; "": none. */
export const beside = signal("");
export const before = signal<Manifests>(undefined);
export const after = signal<Manifests>(undefined);
export const prune = signal(false);
/** In tcpdump's words; "": everything. */
export const filter = signal("");

/** A link with a larger recording would be cut by what it is sent with. */
const MOST_BYTES = 100_000;

export async function openRecording(file: File): Promise<void> {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const { name, size } = file;
  recording.value = { name, size, bytes, text: size > MOST_BYTES ? undefined : textOf(bytes) };
}

/** Undefined: nothing was chosen. */
export function sharedReplay(): SharedReplay | undefined {
  const { name, size, text } = recording.value ?? {};
  const shared: SharedReplay = {
    ...(name !== undefined && size !== undefined && { recording: { name, size, ...(text !== undefined && { text }) } }),
    ...(beside.value !== "" && { beside: beside.value }),
    ...(before.value !== undefined && { before: before.value }),
    ...(after.value !== undefined && { after: after.value }),
    ...(prune.value && { prune: true }),
    ...(filter.value !== "" && { filter: filter.value }),
  };
  return Object.keys(shared).length === 0 ? undefined : shared;
}

/** Characters of a link that what is replayed adds, before it is compressed. */
export function sizeOfReplay({ recording: shared, before: was, after: is }: SharedReplay): number {
  const texts = [...(was ?? []), ...(is ?? [])].reduce((sum, { text }) => sum + text.length, 0);
  return texts + (shared?.text?.length ?? 0);
}

export function showReplay(shared: SharedReplay | undefined): void {
  const { name, size, text } = shared?.recording ?? {};
  recording.value =
    name === undefined || size === undefined
      ? undefined
      : { name, size, text, bytes: text === undefined ? undefined : bytesOf(text) };
  beside.value = shared?.beside ?? "";
  before.value = shared?.before;
  after.value = shared?.after;
  prune.value = shared?.prune ?? false;
  filter.value = shared?.filter ?? "";
}

function textOf(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary);
}

/** Undefined: a damaged link. */
function bytesOf(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** `12 kB`. */
export function sizeText(bytes: number): string {
  return bytes < 1_000_000 ? `${Math.ceil(bytes / 1_000)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
