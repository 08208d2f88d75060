/** What a link carries: everything that makes the picture, and nothing that can be computed from it. */
import type { ManifestFile } from "../compiler/manifest/parse.ts";
import type { PacketObject } from "../traffic/packetObject.ts";
import type { SavedNode } from "./messages.ts";

export const VIEWS = ["walk", "matrix", "compare", "timeline", "replay"] as const;
export type View = (typeof VIEWS)[number];

/** Where the manifests are: in the link, in the page, or with the server that serves it. */
export type Origin =
  | { readonly kind: "text"; readonly files: readonly ManifestFile[]; readonly scenario?: ManifestFile }
  | { readonly kind: "bundled"; readonly name: string }
  | { readonly kind: "served" };

/** A packet in the middle of a step of the story, with so many operations done. */
export interface Moment {
  readonly step: number;
  readonly operation: number;
  readonly packet: PacketObject;
}

/** What is replayed, and how. */
export interface SharedReplay {
  /** `text`: its bytes in base64; absent: it is too large for a link. */
  readonly recording?: { readonly name: string; readonly size: number; readonly text?: string };
  /** A second strategy. */
  readonly beside?: string;
  /** Manifests before and after a change. */
  readonly before?: readonly ManifestFile[];
  readonly after?: readonly ManifestFile[];
  readonly prune?: boolean;
  /** In tcpdump's words. */
  readonly filter?: string;
}

export interface SharedState {
  /** Of this form; a page reads what it knows. */
  readonly version: 1;
  readonly origin: Origin;
  readonly saved?: SavedNode;
  readonly view?: View;
  readonly strategy?: string;
  /** A step of the scenario, by its number; else the packets in order. */
  readonly step?: number;
  readonly packets?: readonly PacketObject[];
  readonly moment?: Moment;
  readonly family?: 4 | 6;
  /** The row of the walk, from 0; absent: all of it. */
  readonly position?: number;
  /** Of the matrix. */
  readonly port?: string;
  /** Of compare; absent: all of them. */
  readonly compared?: readonly string[];
  /** Of the timeline. */
  readonly node?: string;
  /** Most classes of packets in a report. */
  readonly limit?: number;
  readonly replay?: SharedReplay;
}
