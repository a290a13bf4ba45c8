/** The least that answers a line with a line: the floor of a ping. */
process.stdin.on('data', (chunk) => process.stdout.write(chunk));
