import type { EventData } from '@atoll/protocol';
import { oneLine, type Terminal } from '../terminal.ts';

/** What the agent asks for, and how to answer; then how it was answered. */
export function showApproval(
  { style, line }: Terminal,
  sessionId: string,
  approval: EventData<'approval'>,
): void {
  if (approval.status === 'requested') {
    line(style.yellow(`? ${callText(approval)}`));
    line(style.dim(`  atoll session approve ${sessionId} ${approval.approvalId} --allow (or --deny)`));
    return;
  }
  const words = { allow: 'allowed', deny: 'denied', cancelled: 'cancelled' };
  const why = approval.message ?? approval.cause;
  const because = why === undefined ? '' : `: ${oneLine(why, 300)}`;
  line(style.dim(`· ${oneLine(approval.tool, 60)} ${words[approval.decision ?? 'cancelled']}${because}`));
}

export function callText({ tool, input }: { tool: string; input: Record<string, unknown> }): string {
  return `${oneLine(tool, 60)} ${oneLine(JSON.stringify(input), 300)}`;
}
