/**
 * TCP as conntrack sees it, one idea each (the form of lines: connectionTranscript.ts). The kernel's answers: the kernel
 * test walks the same packets through Linux.
 */
import type { TranscriptOptions } from "./connectionTranscript.ts";

export interface Transcript {
  readonly name: string;
  readonly text: string;
  readonly options?: TranscriptOptions;
}

const HANDSHAKE = `
  > S  seq=1000           new          SYN_SENT 120 unreplied
  < SA seq=5000 ack=1001  established  SYN_RECV 60
  > A  seq=1001 ack=5001  established  ESTABLISHED 432000 assured
`;

/** The client closes; the server closes; the last ACK. */
const CLOSE = `
  > FA seq=1001 ack=5001  established  FIN_WAIT 120 assured
  < FA seq=5001 ack=1002  established  LAST_ACK 30 assured
  > A  seq=1002 ack=5002  established  TIME_WAIT 120 assured
`;

/** The observed rows of TCP in the facts about the kernel. */
const OBSERVED: readonly Transcript[] = [
  {
    name: "an ACK out of nowhere starts an entry in the middle",
    text: `
      > A seq=1000 ack=5000       new          ESTABLISHED 300 unreplied
      > A seq=1000 ack=5000       new          ESTABLISHED 300 unreplied
      < A seq=5000 ack=1000       established  ESTABLISHED 300
      > A seq=1000 ack=5000       established  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "an ACK out of nowhere is invalid when nothing is picked up in the middle",
    options: { tcpLoose: false },
    text: "> A seq=1000 ack=5000  invalid  none",
  },
  {
    name: "nothing else starts an entry in the middle",
    text: `
      > SA seq=1 ack=1  invalid  none
      > R  seq=1        invalid  none
      > RA seq=1 ack=1  invalid  none
      > FA seq=1 ack=1  invalid  none
    `,
  },
  {
    name: "flags that no stack sends together are invalid",
    text: `
      > -    invalid  none
      > SF   invalid  none
      > FPU  invalid  none
      > SR   invalid  none
      > SFA  invalid  none
      > F    invalid  none
      > U    invalid  none
      > P    invalid  none
      > SAU  invalid  none
      > RU   invalid  none
      > SU   new      SYN_SENT 120 unreplied
    `,
  },
  {
    name: "congestion and push flags make no difference",
    text: `
      > SEC  seq=1000           new          SYN_SENT 120 unreplied
      < SAE  seq=5000 ack=1001  established  SYN_RECV 60
      > APEC seq=1001 ack=5001  established  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "a SYN-ACK in another zone than its SYN is invalid",
    text: `
      > S  seq=1 zone=1         new          SYN_SENT 120 unreplied
      < SA seq=1 ack=2          invalid
      < SA seq=1 ack=2 zone=2   invalid
      < SA seq=1 ack=2 zone=1   established  SYN_RECV 60
      > A  seq=2 ack=2 zone=1   established  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "numbers far out of window are invalid",
    text: `${HANDSHAKE}
      > A seq=500001001 ack=5001  invalid  ESTABLISHED 432000 assured
      > A seq=1001 ack=500005001  invalid  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "a liberal table lets numbers out of window pass",
    options: { tcpBeLiberal: true },
    text: `${HANDSHAKE}
      > A seq=500001001 ack=5001  established  ESTABLISHED 432000 assured
      > A seq=1001 ack=500005001  established  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "a RST below what was acknowledged is invalid, one that names the next number ends the connection",
    text: `${HANDSHAKE}
      < A seq=5001 ack=1001  established  ESTABLISHED 432000 assured
      > R seq=900            invalid      ESTABLISHED 432000 assured
      > R seq=1001           established  CLOSE 10 assured
    `,
  },
  {
    name: "a RST that answers an unreplied SYN removes the entry at once",
    text: `
      > S  seq=1000       new          SYN_SENT 120 unreplied
      < RA seq=0 ack=1001 established  none
      < RA seq=0 ack=1001 invalid      none
    `,
  },
  {
    name: "data after a RST passes, and a SYN re-uses the tuple of the side that was reset",
    text: `${HANDSHAKE}
      > R seq=1001            established  CLOSE 10 assured
      < A seq=5001 ack=1001 len=10  established  CLOSE 10 assured
      < A seq=5011 ack=1001   established  CLOSE 10 assured
      > S seq=90000           established  CLOSE 10 assured
    `,
  },
];

const OPENING: readonly Transcript[] = [
  {
    name: "a repeated SYN keeps its deadline",
    text: `
      > S seq=1000  new  SYN_SENT 120 unreplied
      > S seq=1000  new  SYN_SENT 120 unreplied
    `,
  },
  {
    name: "a repeated SYN-ACK changes nothing",
    text: `
      > S  seq=1000           new          SYN_SENT 120 unreplied
      < SA seq=5000 ack=1001  established  SYN_RECV 60
      < SA seq=5000 ack=1001  established  SYN_RECV 60
      > A  seq=1001 ack=5001  established  ESTABLISHED 432000 assured
      < SA seq=5000 ack=1001  established  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "a client that did not hear the SYN-ACK may not send yet",
    text: `
      > S  seq=1000           new      SYN_SENT 120 unreplied
      > A  seq=1001 ack=5001  invalid  SYN_SENT 120 unreplied
      > FA seq=1001 ack=5001  invalid  SYN_SENT 120 unreplied
      > SA seq=1000 ack=5001  invalid  SYN_SENT 120 unreplied
    `,
  },
  {
    name: "a SYN-ACK to another SYN is invalid",
    text: `
      > S  seq=1000             new      SYN_SENT 120 unreplied
      < SA seq=5000 ack=900000  invalid  SYN_SENT 120 unreplied
    `,
  },
  {
    name: "both sides open at once",
    text: `
      > S  seq=1000           new          SYN_SENT 120 unreplied
      < S  seq=5000           established  SYN_SENT2 120
      < S  seq=5000           established  SYN_SENT2 120
      > SA seq=1000 ack=5001  established  SYN_RECV 60
      < SA seq=5000 ack=1001  established  SYN_RECV 60
      < A  seq=5001 ack=1001  established  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "a SYN with data and window scale",
    text: `
      > S  seq=1000 len=100 scale=7 win=64240   new          SYN_SENT 120 unreplied
      < SA seq=5000 ack=1101 scale=7 win=65160  established  SYN_RECV 60
      > A  seq=1101 ack=5001 win=502            established  ESTABLISHED 432000 assured
      < A  seq=5001 ack=1101 len=60000          established  ESTABLISHED 300 assured
      < A  seq=65001 ack=1101 len=4000          established  ESTABLISHED 300 assured
    `,
  },
  {
    name: "without the scale of the other side there is none",
    text: `
      > S  seq=1000 scale=7 win=64240   new          SYN_SENT 120 unreplied
      < SA seq=5000 ack=1001 win=65160  established  SYN_RECV 60
      > A  seq=1001 ack=5001 win=502    established  ESTABLISHED 432000 assured
      < A  seq=5001 ack=1001 len=60000  established  ESTABLISHED 300 assured
      < A  seq=140000 ack=1001 len=4000 invalid      ESTABLISHED 300 assured
    `,
  },
  {
    name: "a half-open connection: the server's challenge, the client's RST",
    text: `
      > S seq=1000           new          SYN_SENT 120 unreplied
      < A seq=5000 ack=7777  established  SYN_SENT 120
      > R seq=7777           established  CLOSE 10
    `,
  },
  {
    name: "a SYN in an established connection passes unbelieved; the server's RST ends the connection",
    text: `${HANDSHAKE}
      > S  seq=33333             established  ESTABLISHED 432000 assured
      < RA seq=900000 ack=33334  established  CLOSE 10 assured
    `,
  },
  {
    name: "… but not a RST of the client, whose SYN it was",
    text: `${HANDSHAKE}
      > S  seq=33333             established  ESTABLISHED 432000 assured
      > RA seq=900000 ack=33334  invalid      ESTABLISHED 432000 assured
    `,
  },
  {
    name: "… and the server's SYN-ACK brings the entry back in step",
    text: `${HANDSHAKE}
      > S  seq=33333             established  ESTABLISHED 432000 assured
      < SA seq=77777 ack=33334   established  SYN_RECV 60 assured
      > A  seq=33334 ack=77778   established  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "a server never opens a known connection",
    text: `${HANDSHAKE}
      < S  seq=1  invalid  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "after both opened at once, a RST in the direction of the last SYN is held to the window",
    text: `
      > S seq=1000           new          SYN_SENT 120 unreplied
      < S seq=5000           established  SYN_SENT2 120
      < A seq=7777 ack=1     established  SYN_SENT2 120
      > S seq=1000           established  SYN_SENT2 120
      > R seq=900000 ack=7777 invalid     SYN_SENT2 120
      < R seq=900000 ack=7777 established CLOSE 10
    `,
  },
];

const CLOSING: readonly Transcript[] = [
  { name: "the client closes first", text: HANDSHAKE + CLOSE },
  {
    name: "half closed, the server goes on sending",
    text: `${HANDSHAKE}
      > FA seq=1001 ack=5001         established  FIN_WAIT 120 assured
      < A  seq=5001 ack=1002         established  CLOSE_WAIT 60 assured
      < A  seq=5001 ack=1002 len=500 established  CLOSE_WAIT 60 assured
      > A  seq=1002 ack=5501         established  CLOSE_WAIT 60 assured
      < FA seq=5501 ack=1002         established  LAST_ACK 30 assured
      < FA seq=5501 ack=1002         established  LAST_ACK 30 assured
      > A  seq=1002 ack=5502         established  TIME_WAIT 120 assured
      > A  seq=1002 ack=5502         established  TIME_WAIT 120 assured
    `,
  },
  {
    name: "a closed tuple is opened again by whoever closed",
    text: `${HANDSHAKE}${CLOSE}
      > S  seq=90000             new          SYN_SENT 120 unreplied
      < SA seq=70000 ack=90001   established  SYN_RECV 60
    `,
  },
  {
    name: "… and by the other side, which is the client then",
    text: `${HANDSHAKE}${CLOSE}
      < S  seq=90000             new          SYN_SENT 120 unreplied
      > SA seq=70000 ack=90001   established  SYN_RECV 60
    `,
  },
  {
    name: "a SYN before the last ACK passes unbelieved; a challenge is not the last ACK",
    text: `${HANDSHAKE}
      > FA seq=1001 ack=5001   established  FIN_WAIT 120 assured
      < FA seq=5001 ack=1002   established  LAST_ACK 30 assured
      > S  seq=90000           established  LAST_ACK 30 assured
      < A  seq=5002 ack=1002   established  LAST_ACK 30 assured
      > A  seq=1002 ack=5002   established  TIME_WAIT 120 assured
    `,
  },
  {
    name: "once it is closing, any RST closes it for good",
    text: `${HANDSHAKE}
      > FA seq=1001 ack=5001   established  FIN_WAIT 120 assured
      < R  seq=123456789       established  CLOSE 10 assured
      < R  seq=987654321       established  CLOSE 10 assured
    `,
  },
  {
    name: "a RST beyond the next number shortens the life of an established connection and no more",
    text: `${HANDSHAKE}
      < A seq=5001 ack=1001  established  ESTABLISHED 432000 assured
      > R seq=1011           established  ESTABLISHED 10 assured
      < A seq=5001 ack=1011  established  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "a RST that follows its own data need not wait for an acknowledgment",
    text: `${HANDSHAKE}
      < A  seq=5001 ack=1001         established  ESTABLISHED 432000 assured
      > PA seq=1001 ack=5001 len=19  established  ESTABLISHED 300 assured
      > R  seq=1020                  established  CLOSE 10 assured
    `,
  },
  {
    name: "a table told so believes a RST below what was acknowledged",
    options: { tcpIgnoreInvalidRst: true },
    text: `${HANDSHAKE}
      < A seq=5001 ack=1001  established  ESTABLISHED 432000 assured
      > R seq=900            established  ESTABLISHED 10 assured
    `,
  },
  {
    name: "RSTs out of window from both sides shorten the life of an entry that is out of step",
    text: `${HANDSHAKE}
      > R seq=900000001      invalid  ESTABLISHED 432000 assured
      < R seq=900005001      invalid  ESTABLISHED 300 assured
    `,
  },
];

const LIFETIMES: readonly Transcript[] = [
  {
    name: "data that is not acknowledged shortens the life, its acknowledgment restores it",
    text: `${HANDSHAKE}
      > PA seq=1001 ack=5001 len=100  established  ESTABLISHED 300 assured
      < A  seq=5001 ack=1101          established  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "the same ACK four times shortens the life",
    text: `${HANDSHAKE}
      > A seq=1001 ack=5001  established  ESTABLISHED 432000 assured
      > A seq=1001 ack=5001  established  ESTABLISHED 432000 assured
      > A seq=1001 ack=5001  established  ESTABLISHED 300 assured
      < A seq=5001 ack=1001  established  ESTABLISHED 432000 assured
    `,
  },
  {
    name: "a closed window shortens the life",
    text: `${HANDSHAKE}
      > A seq=1001 ack=5001 win=0  established  ESTABLISHED 300 assured
    `,
  },
  {
    name: "timeouts are options; before the first ACK they are bounded as if the window was closed",
    options: { timeouts: { tcp: { synSent: 1000, synRecv: 200, established: 3000, unacknowledged: 500 } } },
    text: `
      > S  seq=1000                   new          SYN_SENT 300 unreplied
      < SA seq=5000 ack=1001          established  SYN_RECV 200
      > A  seq=1001 ack=5001          established  ESTABLISHED 3000 assured
      > PA seq=1001 ack=5001 len=100  established  ESTABLISHED 500 assured
    `,
  },
];

const WINDOWS: readonly Transcript[] = [
  {
    name: "data up to the edge of the window, and a little beyond",
    text: `
      > S  seq=1000                           new          SYN_SENT unreplied
      < SA seq=5000 ack=1001 win=1000         established  SYN_RECV
      > A  seq=1001 ack=5001                  established  ESTABLISHED assured
      > A  seq=2001 ack=5001 len=10           established  ESTABLISHED assured
      > A  seq=2002 ack=5001 len=10           established  ESTABLISHED assured
      > A  seq=5000 ack=5001 len=10           invalid      ESTABLISHED assured
    `,
  },
  {
    name: "acknowledgments from 66,000 back to what was sent",
    text: `
      > S  seq=100000                          new          SYN_SENT unreplied
      < SA seq=500000 ack=100001               established  SYN_RECV
      > A  seq=100001 ack=500001               established  ESTABLISHED assured
      > A  seq=100001 ack=434001               established  ESTABLISHED assured
      > A  seq=100001 ack=434000               established  ESTABLISHED assured
      > A  seq=100001 ack=500002               invalid      ESTABLISHED assured
    `,
  },
  {
    name: "numbers wrap at 2^32",
    text: `
      > S  seq=4294967290                          new          SYN_SENT unreplied
      < SA seq=4294967295 ack=4294967291           established  SYN_RECV
      > A  seq=4294967291 ack=0                    established  ESTABLISHED assured
      > PA seq=4294967291 ack=0 len=100            established  ESTABLISHED assured
      < A  seq=0 ack=95                            established  ESTABLISHED assured
      < A  seq=0 ack=4294967290                    established  ESTABLISHED assured
      < A  seq=0 ack=96                            invalid      ESTABLISHED assured
    `,
  },
  {
    name: "a keepalive, one number back",
    text: `${HANDSHAKE}
      > A  seq=1000 ack=5001          established  ESTABLISHED assured
      < A  seq=5001 ack=1001          established  ESTABLISHED assured
    `,
  },
  {
    name: "retransmitted data that was acknowledged long ago passes and changes nothing",
    text: `
      > S  seq=1000                            new          SYN_SENT unreplied
      < SA seq=5000 ack=1001 win=1000          established  SYN_RECV
      > A  seq=1001 ack=5001 len=1000          established  ESTABLISHED assured
      < A  seq=5001 ack=2001 win=1000          established  ESTABLISHED assured
      > A  seq=2001 ack=5001 len=1000          established  ESTABLISHED assured
      > FA seq=1500 ack=5001 len=10            established  ESTABLISHED assured
    `,
  },
];

export const TCP_TRANSCRIPTS: readonly Transcript[] = [...OBSERVED, ...OPENING, ...CLOSING, ...LIFETIMES, ...WINDOWS];
