//! One AdamW step on the elements of a parameter, fused into one pass (Loshchilov and Hutter, "Decoupled weight decay
//! regularization", ICLR 2019).

use crate::vector::simd;

/// The numbers of one step that are equal for all elements of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Factors {
    /// 1 - lr * weight decay.
    pub decay: f32,
    /// lr / (1 - beta1^step).
    pub size: f32,
    /// sqrt(1 - beta2^step).
    pub root: f32,
    pub eps: f32,
    /// 1 - beta1.
    pub first: f32,
    /// beta2.
    pub second: f32,
    /// 1 - beta2.
    pub square: f32,
}

/// Values of a parameter with the running means of their gradient and of its square. The three slices are equally long.
pub struct Elements<'a> {
    pub value: &'a mut [f32],
    pub first: &'a mut [f32],
    pub second: &'a mut [f32],
}

impl Elements<'_> {
    /// One step with the gradient `clip * gradient`.
    pub fn step(&mut self, factors: &Factors, gradient: &[f32], clip: f32) {
        simd(
            #[inline(always)]
            || {
                self.apply(
                    factors,
                    #[inline(always)]
                    |i| gradient[i] * clip,
                );
            },
        );
    }

    /// The steps `outstanding`, each with a zero gradient.
    pub fn catch_up(&mut self, outstanding: &[Factors]) {
        let has_no_moments = self.first.iter().chain(self.second.iter()).all(|&x| x == 0.0);
        simd(
            #[inline(always)]
            || {
                for factors in outstanding {
                    if has_no_moments && factors.eps > 0.0 {
                        // Without moments a step is weight decay only.
                        self.value.iter_mut().for_each(|x| *x *= factors.decay);
                    } else {
                        self.apply(
                            factors,
                            #[inline(always)]
                            |_| 0.0,
                        );
                    }
                }
            },
        );
    }

    #[expect(
        clippy::inline_always,
        reason = "must be inlined into the function that is compiled with vector instructions"
    )]
    #[inline(always)]
    fn apply(&mut self, factors: &Factors, g: impl Fn(usize) -> f32) {
        let n = self.value.len();
        let (p, m, v) = (&mut *self.value, &mut self.first[..n], &mut self.second[..n]);
        for i in 0..n {
            let g = g(i);
            m[i] += factors.first * (g - m[i]);
            v[i] = factors.second * v[i] + factors.square * g * g;
            p[i] = p[i] * factors.decay - factors.size * (m[i] / (v[i].sqrt() / factors.root + factors.eps));
        }
    }
}
