/** SCTP as conntrack sees it, one idea each (the form of lines: connectionTranscript.ts). */
import type { Transcript } from "./tcpTranscripts.ts";

const HANDSHAKE = `
  > INIT        tag=0  init=11  new          CLOSED 10 unreplied
  < INIT_ACK    tag=11 init=22  established  COOKIE_WAIT 3
  > COOKIE_ECHO tag=22          established  COOKIE_ECHOED 3
  < COOKIE_ACK  tag=11          established  ESTABLISHED 210 assured
`;

export const SCTP_TRANSCRIPTS: readonly Transcript[] = [
  {
    name: "an association opens and carries data",
    text: `${HANDSHAKE}
      > DATA tag=22 len=4  established  ESTABLISHED 210 assured
      < SACK tag=11        established  ESTABLISHED 210 assured
    `,
  },
  {
    name: "data with a wrong verification tag is invalid",
    text: `${HANDSHAKE}
      > DATA tag=23 len=4  invalid  ESTABLISHED 210 assured
      < DATA tag=22 len=4  invalid  ESTABLISHED 210 assured
    `,
  },
  {
    name: "without an association data is invalid, and whatever ends or answers one",
    text: `
      > DATA tag=22 len=4      invalid  none
      > SACK tag=22            invalid  none
      > ABORT tag=22           invalid  none
      > COOKIE_ACK tag=22      invalid  none
      > SHUTDOWN_COMPLETE tag=22  invalid  none
      > INIT tag=22 init=11    invalid  none
    `,
  },
  {
    name: "it is shut down by the client",
    text: `${HANDSHAKE}
      > SHUTDOWN          tag=22  established  SHUTDOWN_SENT 3 assured
      < SHUTDOWN_ACK      tag=11  established  SHUTDOWN_ACK_SENT 3 assured
      > SHUTDOWN_COMPLETE tag=22  established  CLOSED 10 assured
    `,
  },
  {
    name: "it is shut down by the server",
    text: `${HANDSHAKE}
      < SHUTDOWN          tag=11  established  SHUTDOWN_RECD 3 assured
      > SHUTDOWN_ACK      tag=22  established  SHUTDOWN_ACK_SENT 3 assured
      < SHUTDOWN_COMPLETE tag=11  established  CLOSED 10 assured
    `,
  },
  {
    name: "an ABORT with the right tag closes it",
    text: `${HANDSHAKE}
      < ABORT tag=99  invalid      ESTABLISHED 210 assured
      < ABORT tag=11  established  CLOSED 10 assured
    `,
  },
  {
    name: "a repeated INIT keeps its deadline",
    text: `
      > INIT tag=0 init=11  new  CLOSED 10 unreplied
      > INIT tag=0 init=11  new  CLOSED 10 unreplied
    `,
  },
  {
    name: "an INIT ACK must carry the tag that the INIT asked for",
    text: `
      > INIT     tag=0  init=11  new          CLOSED 10 unreplied
      < INIT_ACK tag=12 init=22  invalid      CLOSED 10 unreplied
      < INIT_ACK tag=11 init=22  established  COOKIE_WAIT 3
    `,
  },
  {
    name: "once the tags are known, an INIT ACK cannot change them",
    text: `
      > INIT     tag=0  init=11  new          CLOSED 10 unreplied
      < INIT_ACK tag=11 init=22  established  COOKIE_WAIT 3
      < INIT_ACK tag=11 init=22  established  COOKIE_WAIT 3
      > INIT_ACK tag=22 init=11  established  COOKIE_WAIT 3
    `,
  },
  {
    name: "an INIT that repeats what is known opens nothing",
    text: `
      < SHUTDOWN_ACK tag=7          new          SHUTDOWN_ACK_SENT 3 unreplied
      < HEARTBEAT    tag=7          new          SHUTDOWN_ACK_SENT 3 unreplied
      > INIT         tag=0 init=7   established  SHUTDOWN_ACK_SENT 3
      < INIT_ACK     tag=7 init=99  invalid      SHUTDOWN_ACK_SENT 3
    `,
  },
  {
    name: "a heartbeat opens the second path of an association",
    text: `
      > HEARTBEAT     tag=22  new          HEARTBEAT_SENT 30 unreplied
      > HEARTBEAT     tag=22  new          HEARTBEAT_SENT 30 unreplied
      < HEARTBEAT_ACK tag=11  established  ESTABLISHED 210 assured
      > DATA          tag=22 len=4  established  ESTABLISHED 210 assured
    `,
  },
  {
    name: "a heartbeat with another tag renews the tags only when the other side answers it",
    text: `${HANDSHAKE}
      > HEARTBEAT     tag=33  established  ESTABLISHED 210 assured
      > HEARTBEAT_ACK tag=33  invalid      ESTABLISHED 210 assured
      < HEARTBEAT_ACK tag=44  established  ESTABLISHED 210 assured
      < DATA          tag=44 len=4  established  ESTABLISHED 210 assured
      > DATA          tag=22 len=4  invalid      ESTABLISHED 210 assured
    `,
  },
  {
    name: "all tags zero, as in transcripts that do not care, goes through",
    text: `
      > INIT         new          CLOSED 10 unreplied
      < INIT_ACK     established  COOKIE_WAIT 3
      > COOKIE_ECHO  established  COOKIE_ECHOED 3
      < COOKIE_ACK   established  ESTABLISHED 210 assured
      > DATA len=4   established  ESTABLISHED 210 assured
    `,
  },
  {
    name: "chunks that nobody knows change nothing",
    text: `
      > INIT     tag=0  init=11  new          CLOSED 10 unreplied
      < INIT_ACK tag=11 init=22  established  COOKIE_WAIT 3
      > 64       tag=22 len=4    established  COOKIE_WAIT 3
    `,
  },
];
