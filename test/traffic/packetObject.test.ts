/** Packets written as JSON objects are read back as the same packets. */

import fc from "fast-check";
import { expect, it } from "vitest";
import { parseAddress } from "../../dataplane/address.ts";
import { makePacket } from "../../dataplane/packet.ts";
import { packetToObject } from "../../traffic/packetObject.ts";
import { isProblem, packetFromObject, packetOf } from "../../traffic/transcript.ts";
import { wirePacketArbitrary } from "../arbitraries/wirePacket.ts";
import { runsOf } from "../extent.ts";

const resolve = (text: string) => parseAddress(text) ?? { problem: text };

it("a packet survives the way through JSON", () => {
  fc.assert(
    fc.property(wirePacketArbitrary, (packet) => {
      const { windowScale: _, ...written } = packet; // no transcript says it
      const object: unknown = JSON.parse(JSON.stringify(packetToObject(packet)));
      const text = packetFromObject(object);
      if (isProblem(text)) throw new Error(text.problem);
      expect(packetOf(text, resolve)).toEqual(makePacket(written));
    }),
    { numRuns: runsOf(500) },
  );
});
