"""What operation needs of every part: pauses, who may write, numbers, and what operators have done."""
