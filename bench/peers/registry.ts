/** The one list of peers. */
import { cyclonusPeer } from "./cyclonus.ts";
import { kernelPeer, objectsPeer, scanPeer } from "./linear.ts";
import type { Peer } from "./peer.ts";
import { readerPeers } from "./readers.ts";

export const PEERS: readonly Peer[] = [objectsPeer, scanPeer, kernelPeer, cyclonusPeer, ...readerPeers];
