"""From images to ranges to Q/DQ: observers, ranges, tables, fake quantization and the graphs that carry it."""
