/** UDP, ICMP and the rest as conntrack sees them, one idea each (the form of lines: connectionTranscript.ts). */
import type { Transcript } from "./tcpTranscripts.ts";

const UDP = { protocol: "udp" } as const;
const ICMP = { protocol: "icmp" } as const;
const ICMPV6 = { protocol: "icmpv6", family: 6 } as const;

export const UDP_TRANSCRIPTS: readonly Transcript[] = [
  {
    name: "a question and its answer",
    options: UDP,
    text: `
      > data  new          30 unreplied
      > data  new          30 unreplied
      < data  established  30
      > data  established  30
      < data  established  30
    `,
  },
  {
    name: "UDP-Lite is a stream from its first answer on",
    options: { protocol: 136 },
    text: `
      > data  new          30 unreplied
      < data  established  30
      > data  established  120 assured
    `,
  },
  {
    name: "GRE is one conversation per pair of addresses",
    options: { protocol: 47 },
    text: `
      > data  new          30 unreplied
      < data  established  30
      > data  established  180 assured
    `,
  },
  {
    name: "so is every protocol that nothing is known of",
    options: { protocol: 50 },
    text: `
      > data  new          600 unreplied
      < data  established  600
      > data  established  600
    `,
  },
];

export const ICMP_TRANSCRIPTS: readonly Transcript[] = [
  {
    name: "an echo is answered under its identifier and code",
    options: ICMP,
    text: `
      > 8/0 id=7  new          30 unreplied
      < 0/0 id=8  invalid
      < 0/1 id=7  invalid
      > 0/0 id=7  invalid
      < 0/0 id=7  established  30
      > 8/0 id=7  established  30
    `,
  },
  {
    name: "timestamp and address mask are questions, too",
    options: ICMP,
    text: `
      > 13/0 id=7  new          30 unreplied
      < 14/0 id=7  established  30
    `,
  },
  {
    name: "an answer that nobody asked for is invalid, as are types that neither ask nor answer",
    options: ICMP,
    text: `
      > 0/0 id=7   invalid  none
      > 14/0 id=7  invalid  none
      > 9/0        invalid
      > 10/0       invalid
      > 19/0       invalid
      > 42/0       invalid
    `,
  },
  {
    name: "an error about a known connection is related, whoever sends it",
    text: `
      > S  seq=1             new          SYN_SENT 120 unreplied
      * 3/1  about=>         related      SYN_SENT 120 unreplied
      < 3/13 about=>         related
      * 11/0 about=>         related
      < SA seq=1 ack=2       established  SYN_RECV 60
      * 3/4 about=< to=server  related    SYN_RECV 60
      * 3/1 about=>          related      SYN_RECV 60
    `,
  },
  {
    name: "an error about an unknown connection is invalid",
    text: `
      * 3/1 about=>       invalid  none
      > S                 new
      * 3/1 about=>:81    invalid
      * 3/1 about=>udp    invalid
      * 3/1               invalid
    `,
  },
  {
    name: "an error must go to whoever sent what it quotes",
    text: `
      > S                        new
      * 3/1 about=> to=server    invalid
      * 3/1 about=<              invalid
      * 3/1 about=< to=server    related
    `,
  },
  {
    name: "an error about a ping quotes its identifier",
    options: ICMP,
    text: `
      > 8/0 id=7         new      30 unreplied
      * 11/0 id=7 about=>  related  30 unreplied
      * 11/0 id=8 about=>  invalid
    `,
  },
  {
    name: "an error in another zone is invalid",
    text: `
      > S                   new
      * 3/1 about=> zone=1  invalid
    `,
  },
  {
    name: "ICMPv6 echo",
    options: ICMPV6,
    text: `
      > 128/0 id=7  new          30 unreplied
      < 129/0 id=7  established  30
      < 129/0 id=8  invalid
    `,
  },
  {
    name: "neighbour and listener discovery is not tracked",
    options: ICMPV6,
    text: `
      > 130/0  untracked
      > 131/0  untracked
      > 132/0  untracked
      > 133/0  untracked
      > 134/0  untracked
      > 135/0  untracked
      > 136/0  untracked
      > 143/0  untracked
      > 137/0  invalid
      > 141/0  invalid
    `,
  },
  {
    name: "ICMPv6 errors are related",
    options: { family: 6 },
    text: `
      > S            new      SYN_SENT 120 unreplied
      * 1/0 about=>  related  SYN_SENT 120 unreplied
      * 2/0 about=>  related
      * 3/0 about=>  related
      * 4/0 about=>  related
      * 1/0 about=>:81  invalid
    `,
  },
  { name: "ICMPv6 in an IPv4 packet is invalid", options: { protocol: "icmpv6" }, text: "> 128/0 id=7  invalid  none" },
  {
    name: "ICMP in an IPv6 packet is invalid",
    options: { protocol: "icmp", family: 6 },
    text: `
      > 8/0 id=7  invalid  none
      > 0/0 id=7  invalid  none
    `,
  },
];
