skip 5;
