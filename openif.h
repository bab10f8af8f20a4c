#if 1
skip 1;
