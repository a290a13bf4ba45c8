/** A process of `judgeMany`: simulates the seeds that it is sent. */
import { judge, type Seeds } from './many.ts';

process.on('message', (seeds: Seeds) => {
  void judge(seeds).then((failures) => process.send?.(failures));
});
