/** The Prometheus text format (https://prometheus.io/docs/instrumenting/exposition_formats/). */
import type { Health } from '@atoll/protocol/schemas/platform';

export type Gauge = { name: string; help: string; value: number };

export function renderMetrics(health: Health, more: readonly Gauge[]): string {
  const { pool } = health;
  const gauges: Gauge[] = [
    { name: 'atoll_uptime_seconds', help: 'Since the server started.', value: health.uptimeMs / 1000 },
    { name: 'atoll_sessions', help: 'Sessions that have a sandbox.', value: health.sessions },
    { name: 'atoll_pool_capacity', help: 'Sandboxes that all runners can hold.', value: pool.capacity },
    { name: 'atoll_pool_reserved', help: 'Sandbox places that are taken.', value: pool.reserved },
    { name: 'atoll_pool_running', help: 'Sandboxes with a turn under way.', value: pool.running },
    { name: 'atoll_pool_idle', help: 'Sandboxes that wait for a message.', value: pool.idle },
    { name: 'atoll_pool_warm', help: 'Sandboxes made ahead that wait for a session.', value: pool.warm },
    ...more,
    { name: 'process_resident_memory_bytes', help: 'Of the server.', value: process.memoryUsage.rss() },
    { name: 'process_cpu_seconds_total', help: 'Of the server.', value: cpuSeconds() },
  ];
  return gauges.map(renderGauge).join('');
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

function renderGauge({ name, help, value }: Gauge): string {
  const type = name.endsWith('_total') ? 'counter' : 'gauge';
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${name} ${value}\n`;
}
