import { describe, it } from "vitest";
import { expectTranscript } from "./connectionTranscript.ts";
import { TCP_TRANSCRIPTS } from "./tcpTranscripts.ts";

describe("TCP", () => {
  it.each(TCP_TRANSCRIPTS)("$name", ({ text, options }) => {
    expectTranscript(text, options);
  });

  it.each(TCP_TRANSCRIPTS)("over IPv6: $name", ({ text, options }) => {
    expectTranscript(text, { ...options, family: 6 });
  });
});
