"""Digits networks, trained once a test run: an accurate one, an adversarially trained one, and one worth smoothing."""

import functools

import torch

import certmix
from certmix.training.methods import Adversarial
from certmix.training.train import train


@functools.cache
def accurate() -> torch.nn.Module:
    return train(certmix.load_dataset("digits", split="train"), epochs=15)


@functools.cache
def robust() -> torch.nn.Module:
    return train(certmix.load_dataset("digits", split="train"), epochs=20, method=Adversarial(0.2, attack_steps=5))


@functools.cache
def noisy() -> torch.nn.Module:
    return train(certmix.load_dataset("digits", split="train"), sigma=0.5, epochs=10)
