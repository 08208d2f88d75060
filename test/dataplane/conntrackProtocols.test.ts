import { describe, expect, it } from "vitest";
import { PROTOCOL } from "../../dataplane/packet.ts";
import { expectTranscript } from "./connectionTranscript.ts";
import { ICMP_TRANSCRIPTS, UDP_TRANSCRIPTS } from "./datagramTranscripts.ts";
import { SCTP_TRANSCRIPTS } from "./sctpTranscripts.ts";

describe("SCTP", () => {
  it.each(SCTP_TRANSCRIPTS)("$name", ({ text, options }) => {
    expectTranscript(text, { protocol: "sctp", ...options });
  });
});

describe("UDP and protocols without states", () => {
  it.each(UDP_TRANSCRIPTS)("$name", ({ text, options }) => {
    expectTranscript(text, options);
  });

  it("a UDP stream needs more than two seconds of traffic both ways", () => {
    expectTranscript(
      `
      0      > data  new          30 unreplied
      0.5    < data  established  30
      2      > data  established  30
      2.001  > data  established  120 assured
      2.002  < data  established  120 assured
    `,
      { protocol: "udp" },
    );
  });

  it("late answers make no stream by themselves", () => {
    expectTranscript(
      `
      0   > data  new          30 unreplied
      20  < data  established  30
      20  < data  established  120 assured
    `,
      { protocol: "udp" },
    );
  });

  it("ports of DCCP do not count, its tracker is gone from Linux", () => {
    const table = expectTranscript(
      `
      0  > data port=1  new  600 unreplied
         > data port=2  new  600 unreplied
    `,
      { protocol: PROTOCOL.dccp },
    );
    expect(table.size).toBe(1);
  });
});

describe("ICMP", () => {
  it.each(ICMP_TRANSCRIPTS)("$name", ({ text, options }) => {
    expectTranscript(text, options);
  });

  it("an error renews no deadline", () => {
    expectTranscript(`
      0   > S          new      SYN_SENT 120 unreplied
      50  * 3/1 about=> related  SYN_SENT 70 unreplied
    `);
  });

  it("an error about what the server said goes with the opening direction", () => {
    const table = expectTranscript(`
      0  > S  seq=1             new
         < SA seq=1 ack=2       established
         * 3/4 about=< to=server  related
    `);
    expect(table.isReply).toBe(false);
    expectTranscript("0 * 3/4 about=> related", { table });
    expect(table.isReply).toBe(true);
    expect(table.isTracked).toBe(true);
  });
});
