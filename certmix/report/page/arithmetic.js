"use strict";
// Radii from p_A, p_B in plain float64: the unrounded formulas of certmix.certifiers and certmix.rules.
// Normal distribution after Cephes (S. L. Moshier), which is behind scipy.special.ndtr and ndtri.

const polynomial = (x, c) => { let y = c[0]; for (let i = 1; i < c.length; i++) y = y * x + c[i]; return y; };

const ERFC_P = [2.46196981473530512524e-10, 5.64189564831068821977e-1, 7.46321056442269912687, 4.86371970985681366614e1,
  1.96520832956077098242e2, 5.26445194995477358631e2, 9.34528527171957607540e2, 1.02755188689515710272e3,
  5.57535335369399327526e2];
const ERFC_Q = [1, 1.32281951154744992508e1, 8.67072140885989742329e1, 3.54937778887819891062e2, 9.75708501743205489753e2,
  1.82390916687909736289e3, 2.24633760818710981792e3, 1.65666309194161350182e3, 5.57535340817727675546e2];
const ERFC_R = [5.64189583547755073984e-1, 1.27536670759978104416, 5.01905042251180477414, 6.16021097993053585195,
  7.40974269950448939160, 2.97886665372100240670];
const ERFC_S = [1, 2.26052863220117276590, 9.39603524938001434673, 1.20489539808096656605e1, 1.70814450747565897222e1,
  9.60896809063285878198, 3.36907645100081516050];
const ERF_T = [9.60497373987051638749, 9.00260197203842689217e1, 2.23200534594684319226e3, 7.00332514112805075473e3,
  5.55923013010394962768e4];
const ERF_U = [1, 3.35617141647503099647e1, 5.21357949780152679795e2, 4.59432382970980127987e3,
  2.26290000613890934246e4, 4.92673942608635921086e4];

/** Phi(x). */
function cdf(x) {
  const a = x * Math.SQRT1_2, z = Math.abs(a);
  if (z < 1) return 0.5 + 0.5 * a * polynomial(a * a, ERF_T) / polynomial(a * a, ERF_U);
  const tail = 0.5 * Math.exp(-a * a) * (z < 8 ? polynomial(z, ERFC_P) / polynomial(z, ERFC_Q)
    : polynomial(z, ERFC_R) / polynomial(z, ERFC_S));
  return x > 0 ? 1 - tail : tail;
}

const Z_P0 = [-5.99633501014107895267e1, 9.80010754185999661536e1, -5.66762857469070293439e1, 1.39312609387279679503e1,
  -1.23916583867381258016];
const Z_Q0 = [1, 1.95448858338141759834, 4.67627912898881538453, 8.63602421390890590575e1, -2.25462687854119370527e2,
  2.00260212380060660359e2, -8.20372256168333339912e1, 1.59056225126211695515e1, -1.18331621121330003142];
const Z_P1 = [4.05544892305962419923, 3.15251094599893866154e1, 5.71628192246421288162e1, 4.40805073893200834700e1,
  1.46849561928858024014e1, 2.18663306850790267539, -1.40256079171354495875e-1, -3.50424626827848203418e-2,
  -8.57456785154685413611e-4];
const Z_Q1 = [1, 1.57799883256466749731e1, 4.53907635128879210584e1, 4.13172038254672030440e1, 1.50425385692907503408e1,
  2.50464946208309415979, -1.42182922854787788574e-1, -3.80806407691578277194e-2, -9.33259480895457427372e-4];
const Z_P2 = [3.23774891776946035970, 6.91522889068984211695, 3.93881025292474443415, 1.33303460815807542389,
  2.01485389549179081538e-1, 1.23716634817820021358e-2, 3.01581553508235416007e-4, 2.65806974686737550832e-6,
  6.23974539184983293730e-9];
const Z_Q2 = [1, 6.02427039364742014255, 3.67983563856160859403, 1.37702099489081330271, 2.16236993594496635890e-1,
  1.34204006088543189037e-2, 3.28014464682127739104e-4, 2.89247864745380683936e-6, 6.79019408009981274425e-9];
const FAR = 40; // Phi(-40) is 0 in floats

/** z(p), the inverse of Phi; -40 and 40 at 0 and 1. */
function quantile(p) {
  if (p <= 0) return -FAR;
  if (p >= 1) return FAR;
  const upper = p > 1 - 0.13533528323661269189, y = upper ? 1 - p : p;
  if (y > 0.13533528323661269189) {
    const d = y - 0.5, d2 = d * d;
    return (d + d * (d2 * polynomial(d2, Z_P0) / polynomial(d2, Z_Q0))) * 2.50662827463100050242;
  }
  const x = Math.sqrt(-2 * Math.log(y)), z = 1 / x;
  const correction = x < 8 ? z * polynomial(z, Z_P1) / polynomial(z, Z_Q1) : z * polynomial(z, Z_P2) / polynomial(z, Z_Q2);
  const found = x - Math.log(x) / x - correction;
  return upper ? found : -found;
}

/** p_A - p_B - (1 - a) / a, from the tails where p_A is large. */
function excessMargin(top, rival, weight) {
  if (weight <= 0.25) return -1; // up to 1/2 no margin suffices
  return top < 0.5 ? top - rival - (1 - weight) / weight : (2 * weight - 1) / weight - (1 - top) - rival;
}

/** What depends on the weight alone; that of the last weight is kept, since inputs come one by one. */
let ofWeight = { weight: NaN };
function weightConstants(weight) {
  if (ofWeight.weight !== weight) {
    const mu = (1 - weight) / weight, nu = (2 * weight - 1) / weight;
    ofWeight = { weight, mu, nu, zHalf: quantile(0.5 * nu), zMost: mu < 0.5 ? -quantile(mu) : quantile(nu) };
  }
  return ofWeight;
}

/** Root t of Phi(zTop - t) - Phi(zRival + t) = (1 - a) / a, by Newton kept in a bracket; `guess` is where to begin. */
function marginRoot(zTop, zRival, weight, guess = 0) {
  const { mu, nu, zHalf, zMost } = weightConstants(weight), direct = mu < 0.1, sign = direct ? -1 : 1;
  let low = Math.max(zTop + zHalf, 0), high = Math.min(0.5 * (zTop - zRival), Math.min(zTop, -zRival) + zMost);
  let t = guess > low && guess < high ? guess : high;
  for (let step = 0; step < 60; step++) {
    const left = t - zTop, right = t + zRival, first = cdf(sign * left), second = cdf(right);
    const lhs = second + (direct ? mu : first), rhs = direct ? first : nu, value = Math.log(lhs / rhs);
    if (value <= 0) low = t; else high = t;
    const slope = (Math.exp(-0.5 * left * left) / (direct ? rhs : lhs) + Math.exp(-0.5 * right * right) / lhs)
      * 0.3989422804014327;
    let next = t - value / slope;
    if (!(next >= low && next <= high)) next = 0.5 * (low + high);
    if (Math.abs(next - t) <= 1e-9) return next; // the next step would be of the order of its square
    t = next;
  }
  return t;
}

/** z of a probability that is given by both of its tails. */
const quantileOf = (lower, upper) => (lower < 0.5 ? quantile(lower) : -quantile(upper));

/** Lipschitz constant of a smoothed probability per unit of sigma. */
const SLOPES = { "theorem-3.5": 1 / Math.sqrt(2 * Math.PI), "theorem-3.5-paper": Math.sqrt(2 / Math.PI), "theorem-3.5-l1": 0.5 };

/** (certifier, rule) -> radius in units of sigma from p_A, p_B (at most 1 - p_A), their z, and the rule's parameter. */
const RADIUS = {
  linear: {
    exact(top, rival, zTop, zRival, weight, guess) {
      if (!(excessMargin(top, rival, weight) > 0)) return 0;
      if (weight === 1) return 0.5 * (zTop - zRival);
      if (rival >= 1 - top) return Math.max(zTop + weightConstants(weight).zHalf, 0);
      return marginRoot(zTop, zRival, weight, guess);
    },
    "theorem-a1"(top, rival, zTop, zRival, weight) {
      if (!(excessMargin(top, rival, weight) > 0)) return 0;
      const first = quantileOf(weight * top, (1 - weight) + weight * (1 - top));
      return Math.max(0.5 * (first - quantileOf(weight * rival + (1 - weight), weight * (1 - rival))), 0);
    },
    ...Object.fromEntries(Object.entries(SLOPES).map(([name, slope]) => [name,
      (top, rival, zTop, zRival, weight) => Math.max(excessMargin(top, rival, weight), 0) / (2 * slope)])),
  },
  threshold: {
    exact: (top, rival, zTop, zRival, c) => (top > c && top > rival
      ? Math.max(Math.min(0.5 * (zTop - zRival), zTop - quantile(c)), 0) : 0),
    ...Object.fromEntries(Object.entries(SLOPES).map(([name, slope]) => [name,
      (top, rival, zTop, zRival, c) => Math.max(Math.min((top - rival) / (2 * slope), (top - c) / slope), 0)])),
  },
};

/** Where h's two probabilities may be on the ball of radius t (in units of sigma): [L, U]; Theorem A.1 has the exact one. */
function envelope(certifier, top, rival, zTop, zRival, t) {
  const slope = SLOPES[certifier];
  return slope ? [Math.max(top - slope * t, 0), Math.min(rival + slope * t, 1)] : [cdf(zTop - t), cdf(zRival + t)];
}
